"use strict";
// The page works without this script except for sorting, copying and the colours of the gallery.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // --- sortable tables: each tbody (methods, controls) keeps its place, missing values stay last ---
  function sortBy(table, column, header) {
    const up = header.getAttribute("aria-sort") !== "ascending";
    all("th[aria-sort]", table).forEach((th) => th.setAttribute("aria-sort", "none"));
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    const value = (row) => row.cells[column]?.dataset.value;   // a failed row has one wide cell
    const missing = (v) => v === undefined || v === "";
    for (const body of table.tBodies) {
      const rows = [...body.rows].sort((a, b) => {
        const x = value(a), y = value(b);
        if (missing(x) || missing(y)) return missing(x) - missing(y);
        const order = column === 0 ? x.localeCompare(y) : Number(x) - Number(y);
        return up ? order : -order;
      });
      body.append(...rows);
    }
  }
  for (const table of all("table[data-sortable]")) {
    all("thead th[aria-sort]", table).forEach((header, column) => {   // not the headings of families
      const button = header.querySelector("button.sort");
      if (button) button.addEventListener("click", () => sortBy(table, column, header));
    });
  }

  // --- copy buttons: the clipboard API is missing on some file:// pages, so select-and-copy is kept ---
  function copyText(source) {
    if (navigator.clipboard && window.isSecureContext) return navigator.clipboard.writeText(source.textContent);
    const range = document.createRange();
    range.selectNodeContents(source);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return document.execCommand("copy") ? Promise.resolve() : Promise.reject(new Error("copy refused"));
  }
  for (const button of all("button.copy")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const source = document.getElementById(button.dataset.source);
      const said = button.textContent;
      const say = (word) => { button.textContent = word; setTimeout(() => { button.textContent = said; }, 1500); };
      copyText(source).then(() => say("Copied"), () => say("Press Ctrl+C"));
    });
  }

  // --- colours: RdBu (safe for colour-blind readers), blue = against, red = for ---
  const STOPS = ["053061", "2166ac", "4393c3", "92c5de", "d1e5f0", "f7f7f7", "fddbc7", "f4a582", "d6604d", "b2182b", "67001f"]
    .map((hex) => [0, 2, 4].map((i) => parseInt(hex.slice(i, i + 2), 16)));
  function ramp(t) {                                   // t in 0..1 along all stops
    const at = Math.min(Math.max(t, 0), 1) * (STOPS.length - 1), i = Math.min(Math.floor(at), STOPS.length - 2);
    return STOPS[i].map((c, k) => c + (STOPS[i + 1][k] - c) * (at - i));
  }
  const colour = (v, absolute) => ramp(absolute ? 0.5 + Math.abs(v) / 2 : 0.5 + v / 2);   // v in -1..1

  // --- the gallery ---
  const dark = matchMedia("(prefers-color-scheme: dark)");

  function decode(uri) {                               // PNG data URI -> {width, height, data RGBA}
    return new Promise((resolve, reject) => {
      const image = new Image();
      image.onload = () => {
        const canvas = document.createElement("canvas");
        canvas.width = image.naturalWidth;
        canvas.height = image.naturalHeight;
        const context = canvas.getContext("2d", { willReadFrequently: true });
        context.drawImage(image, 0, 0);
        resolve(context.getImageData(0, 0, canvas.width, canvas.height));
      };
      image.onerror = () => reject(new Error("a map could not be decoded"));
      image.src = uri;
    });
  }

  class Gallery {
    constructor(root) {
      this.root = root;
      this.data = JSON.parse(document.getElementById(root.dataset.json).textContent);
      this.table = root.querySelector("table.gallery");
      this.places = all("[data-map]", this.table);
      this.pixels = new Map();                         // "algorithm,sample" -> decoded grey map; inputs by sample
      const knob = (name) => root.querySelector(`[data-knob=${name}]`);
      this.sign = knob("sign");
      this.scale = knob("scale");
      this.opacity = knob("opacity");
      this.layout = knob("layout");
      root.addEventListener("input", () => this.paint());
      dark.addEventListener("change", () => this.paint());
      root.querySelector(".knobs").hidden = false;
    }

    async load() {
      const jobs = [];
      const keep = (key, uri) => jobs.push(decode(uri).then((image) => this.pixels.set(key, image)));
      this.data.maps.forEach((row, a) => row.forEach((map, s) => { if (map && map.png) keep(`${a},${s}`, map.png); }));
      all("img[data-input]", this.table).forEach((img) => keep(img.dataset.input, img.src));
      await Promise.all(jobs);
      this.paint();
    }

    limit(a, s, part) {                                // the value painted with the strongest colour; part: scale or own
      const scales = (maps) => Math.max(0, ...maps.filter(Boolean).map((m) => m[part]));
      if (this.scale.value === "algorithm") return scales(this.data.maps[a]);
      if (this.scale.value === "sample") return scales(this.data.maps.map((row) => row[s]));
      return this.data.maps[a][s][part];
    }

    paint() {
      const absolute = this.sign.value === "absolute";
      const key = this.root.querySelector(".key");
      key.className = absolute ? "key absolute" : "key signed";
      all("[data-key=low]", key)[0].textContent = absolute ? "none" : "against";
      all("[data-key=high]", key)[0].textContent = absolute ? "strong" : "for";
      if (this.opacity) this.opacity.parentElement.querySelector("output").textContent = `${this.opacity.value} %`;
      if (this.layout) this.table.classList.toggle("lines", this.layout.value === "lines");
      const hidden = new Set(all("[data-pick]", this.root).filter((box) => !box.checked).map((box) => box.dataset.pick));
      all("[data-column]", this.table).forEach((cell) => { cell.hidden = hidden.has(cell.dataset.column); });
      for (const place of this.places) {
        const [a, s] = place.dataset.map.split(",").map(Number);
        if (hidden.has(String(a))) continue;
        if (place.tagName === "CANVAS") this.paintImage(place, a, s, absolute);
        else if (this.data.view === "bars") this.paintBars(place, a, s, absolute);
        else this.paintTokens(place, a, s, absolute);
      }
    }

    paintImage(canvas, a, s, absolute) {
      const grey = this.pixels.get(`${a},${s}`), input = this.pixels.get(String(s));
      if (!grey) return;
      const own = this.data.maps[a][s].own, limit = this.limit(a, s, "own") || 1, alpha = Number(this.opacity.value) / 100;
      const factor = own / limit / 127;                // 8 bits hold -127..127 of the map's own scale around 128
      const table = Array.from({ length: 256 }, (_, q) => colour((q - 128) * factor, absolute));
      canvas.width = grey.width;
      canvas.height = grey.height;
      const context = canvas.getContext("2d"), out = context.createImageData(grey.width, grey.height);
      const under = input && input.width === grey.width && input.height === grey.height ? input.data : null;
      for (let i = 0; i < out.data.length; i += 4) {
        const rgb = table[grey.data[i]];
        const light = under ? 0.299 * under[i] + 0.587 * under[i + 1] + 0.114 * under[i + 2] : 247;
        for (let k = 0; k < 3; k++) out.data[i + k] = alpha * rgb[k] + (1 - alpha) * light;
        out.data[i + 3] = 255;
      }
      context.putImageData(out, 0, 0);
    }

    paintBars(place, a, s, absolute) {                 // the columns of a table, the strongest first
      const map = this.data.maps[a][s], limit = this.limit(a, s, "scale") || 1;
      const order = map.values.map((v, t) => t).sort((t, u) => Math.abs(map.values[u]) - Math.abs(map.values[t]));
      place.replaceChildren(...order.slice(0, 12).map((t) => {
        const v = absolute ? Math.abs(map.values[t]) : map.values[t], share = Math.min(1, Math.abs(v) / limit);
        const row = document.createElement("span"), name = document.createElement("span"), bar = document.createElement("i");
        name.textContent = this.data.samples[s].tokens[t];   // never innerHTML: the text of a data set is untrusted
        row.title = `${name.textContent}: ${map.values[t]}`;
        bar.style.width = `${50 * share}%`;
        bar.style.marginLeft = v < 0 ? `${50 - 50 * share}%` : "50%";
        bar.style.backgroundColor = v < 0 ? "rgb(33 102 172)" : "rgb(178 24 43)";
        row.append(name, bar);
        return row;
      }));
      if (order.length > 12) place.append(`and ${order.length - 12} weaker ones`);
    }

    paintTokens(place, a, s, absolute) {
      const map = this.data.maps[a][s], limit = this.limit(a, s, "scale") || 1;
      const base = dark.matches ? [21, 23, 26] : [255, 255, 255];
      place.replaceChildren();
      this.data.samples[s].tokens.forEach((token, t) => {
        const v = Math.max(-1, Math.min(1, map.values[t] / limit)), strength = Math.min(1, Math.abs(v));
        const hue = absolute || v >= 0 ? [178, 24, 43] : [33, 102, 172];
        const rgb = hue.map((c, k) => Math.round(base[k] + (c - base[k]) * 0.9 * strength));
        const light = 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2] > 140;
        const span = document.createElement("span");
        span.textContent = token;                      // never innerHTML: the text of a data set is untrusted
        span.title = `${token}: ${map.values[t]}`;
        span.style.backgroundColor = `rgb(${rgb.join(" ")})`;
        span.style.color = light ? "#16181b" : "#ffffff";
        if (strength > 0.15) span.className = v < 0 ? "neg" : "pos";
        place.append(span, " ");
      });
    }
  }

  for (const root of all("[data-gallery]")) {
    const gallery = new Gallery(root);
    // At most 8 MiB of maps for all galleries, decoded in well under a second: printing and screenshots see them too.
    gallery.load().catch((error) => { root.querySelector("[data-error]").textContent = String(error); });
  }
})();
