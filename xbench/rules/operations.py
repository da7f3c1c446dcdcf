"""Properties of torch's operations that hold for every rule: linear, elementwise, or moving values.

Names are from `override.canonical_name`: one per operation, for all its forms.
"""


def names(text: str) -> frozenset[str]:
    """A set of words."""
    return frozenset(text.split())


# New tensors, facts about tensors and bookkeeping: the result does not depend on the values of a tensor.
CONSTANT = names(
    """zeros_like ones_like full_like empty_like rand_like randn_like randint_like new_zeros new_ones new_full
    new_empty new_tensor shape size dtype device dim ndim requires_grad requires_grad_ is_leaf grad grad_fn
    set retain_grad register_hook register_post_accumulate_grad_hook backward repr format deepcopy
    reduce_ex"""
)

# These use only the shape or the type of tensors other than the first.
LIKE = names("to type_as view_as reshape_as expand_as")

# Random in training mode, the identity otherwise.
DROPOUTS = names("dropout feature_dropout alpha_dropout feature_alpha_dropout native_dropout")

# Linear; values keep their row-major order.
SAME_ORDER = DROPOUTS | names(
    """reshape view view_as reshape_as unsafe_view flatten unflatten ravel squeeze unsqueeze contiguous clone
    alias to type type_as float double half bfloat16 cuda cpu positive neg detach data requires_grad
    view_as_real view_as_complex real imag conj conj_physical resolve_conj resolve_neg"""
)

# Linear in all tensor arguments, elementwise with broadcasting.
SUMS = names("add sub rsub where masked_fill tril triu copy fill zero")

# Linear; each output value is an input value (or a constant) at another position.
MOVES = names(
    """permute transpose t T mT H mH adjoint swapaxes swapdims movedim moveaxis getitem setitem select narrow
    split split_with_sizes chunk tensor_split hsplit vsplit dsplit unbind index_select gather take_along_dim
    cat stack hstack vstack dstack pad constant_pad_nd roll flip fliplr flipud rot90 expand expand_as
    broadcast_to broadcast_tensors repeat repeat_interleave tile diagonal diag_embed unfold index_add
    index_copy index_put index_fill scatter scatter_add slice_scatter select_scatter masked_scatter atleast_1d
    atleast_2d atleast_3d"""
)

CONVOLUTIONS = names("conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d")

# Linear in the first argument, with the batch in its first dimension, if all other tensors are constants.
PER_EXAMPLE = CONVOLUTIONS | names(
    """avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
    pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle batch_norm grid_sampler im2col col2im
    upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_linear1d upsample_bilinear2d
    upsample_trilinear3d upsample_bicubic2d upsample_nearest_exact1d upsample_nearest_exact2d
    upsample_nearest_exact3d upsample_bilinear2d_aa upsample_bicubic2d_aa stft istft"""
)

# Linear; each mixes the values along the dimensions named by `dim`.
FOURIER = frozenset(
    f"fft_{inverse}{kind}fft{dims}" for inverse in ("", "i") for kind in ("", "r", "h") for dims in ("", "2", "n")
)

# Linear sums over the dimensions named by `dim`, and along one dimension.
REDUCTIONS = names("sum mean")
CUMULATIVE = names("cumsum")

# Linear in each of two tensors.
MATRIX_PRODUCTS = names("matmul mm bmm linear")
PRODUCTS = names("mul matmul mm bmm einsum bilinear")

# Elementwise and nonlinear; other arguments are constants.
ELEMENTWISE = names(
    """relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish sigmoid logsigmoid tanh tanhshrink
    hardtanh hardswish hardsigmoid hardshrink softshrink softplus softsign threshold clamp clamp_min clamp_max
    exp exp2 expm1 log log2 log10 log1p sqrt rsqrt reciprocal square pow float_power abs erf erfc sin cos tan
    sinh cosh asin acos atan asinh acosh atanh logit sign sgn round floor ceil trunc frac nan_to_num sinc
    xlogy hypot atan2 maximum minimum fmax fmin remainder fmod"""
)

# Boolean or integer results: they depend on the input but have no gradient.
COMPARISONS = names(
    """gt lt ge le eq ne greater less greater_equal less_equal not_equal logical_not logical_and logical_or
    logical_xor bitwise_not bitwise_and bitwise_or and or xor invert isnan isinf isfinite isneginf isposinf
    signbit bool int long is_nonzero equal allclose"""
)

# Python numbers computed from a tensor's values.
NUMBERS = names("item tolist float numpy array")

# The truth value of a tensor, for `if` and `while`.
DECISIONS = names("bool is_nonzero equal allclose")

# One number from a whole tensor, if called without further arguments.
OVER_ALL = names("any all max min amax amin sum mean median prod std var count_nonzero")

# max_pool2d, adaptive_max_pool2d_with_indices, ...
MAX_POOLS = frozenset(
    f"{kind}max_pool{dims}d{indices}"
    for kind in ("", "adaptive_")
    for dims in "123"
    for indices in ("", "_with_indices")
)

# Linear in all tensors that carry gradients if all others are constants (for products: one factor).
LINEAR = SAME_ORDER | SUMS | MOVES | PER_EXAMPLE | REDUCTIONS | CUMULATIVE | PRODUCTS | FOURIER | {"linear", "div"}

# Result and operands are broadcast against each other.
BROADCAST = SUMS | ELEMENTWISE | COMPARISONS | {"mul", "div"}
