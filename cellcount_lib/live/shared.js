// What the pages of this folder share: scripts loaded when they are needed, the worker of engine.js,
// and the place where a reader gives a picture.
//
// ABOUT is written by live/assets.py; runtime, networks, pictures and the reader of TIFF are scripts
// beside this one: scripts may be loaded from a disk, other files may not.
"use strict";
(() => {
  const { inflate, ABOUT } = globalThis.cellcount;
  const BESIDE = new URL(".", document.currentScript.src).href;
  const kept = {}, loading = {};

  // Called by the scripts beside this one.
  globalThis.cellcount.keep = (name, content) => (kept[name] = content);

  function load(name) {
    loading[name] ??= new Promise((resolve, reject) => {
      const script = make("script", { src: `${BESIDE}${name}.js` });
      script.onload = () => resolve(kept[name]);
      script.onerror = () => reject(Error(`${name}.js does not lie beside this page`));
      document.head.append(script);
    });
    return loading[name];
  }

  function bytesOf(base64) {
    const text = atob(base64), bytes = new Uint8Array(text.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
    return bytes;
  }

  const unpacked = (base64) => inflate(bytesOf(base64), "gzip");

  function make(tag, attributes = {}, ...children) {
    const svg = ["svg", "rect", "text", "line", "polyline"].includes(tag);
    const node = svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children);
    return node;
  }

  // The worker, and a question to it at a time; `tell` is called with the share that is done.
  async function startEngine() {
    const { worker, glue, wasm } = await load("runtime");
    const [text, binary, glueText] = await Promise.all([worker, wasm, glue].map(unpacked));
    const engine = new Worker(URL.createObjectURL(new Blob([text], { type: "text/javascript" })));
    const waiting = new Map();
    let questions = 0;
    engine.onmessage = ({ data: { id, share, error, ...answer } }) => {
      const { resolve, reject, tell } = waiting.get(id);
      if (share !== undefined) return tell(share);
      waiting.delete(id);
      return error ? reject(Error(error)) : resolve(answer);
    };
    const ask = (what, about, tell = () => {}) =>
      new Promise((resolve, reject) => {
        waiting.set(++questions, { resolve, reject, tell });
        engine.postMessage({ id: questions, ask: what, ...about });
      });
    const openNetwork = async (name) => {
      const info = ABOUT.models[name], { onnx } = await load(`model-${name}`);
      const file = new Blob([await unpacked(onnx), bytesOf(info.outputs ?? "")]); // blocks.py: outputs
      return ask("open", { info, onnx: await file.arrayBuffer(), wasm: binary.buffer, glue: glueText });
    };
    const open = {};
    return { ask, open: (name) => (open[name] ??= openNetwork(name)) };
  }

  const brightened = Uint8Array.from({ length: 256 }, (_, level) => Math.round(255 * Math.sqrt(level / 255)));

  // The brightened picture in the bytes of a canvas.
  function brighten({ width, height, rgb }) {
    const data = new Uint8ClampedArray(4 * width * height).fill(255);
    for (let p = 0, i = 0, j = 0; p < width * height; p++, i += 4, j += 3) {
      for (let c = 0; c < 3; c++) data[i + c] = brightened[rgb[j + c]];
    }
    return data;
  }

  // Where a picture is dropped, or an example asked for: `take` gets the file, perhaps as a promise,
  // and how many cells a simulated one has.
  function picker(take, promise) {
    const input = make("input", { type: "file", accept: ".png,.jpg,.jpeg,.tif,.tiff", onchange: () => input.files[0] && take(input.files[0]) });
    const example = async (name) => new File([bytesOf((await load(`picture-${name}`)).png)], `${name}.png`);
    const examples = Object.entries(ABOUT.pictures).map(([name, { title, cells }]) =>
      make("button", { type: "button", onclick: () => take(example(name), cells) }, `Example: ${title}`));
    const drop = make("div", { class: "drop" },
      make("label", {}, make("span", {}, "Drop a PNG, JPEG or TIFF here, or choose one:"), input),
      make("div", { class: "buttons" }, ...examples),
      make("p", { class: "private" }, `Nothing leaves this machine: ${promise}`));
    drop.addEventListener("dragover", (event) => (event.preventDefault(), drop.classList.add("over")));
    drop.addEventListener("dragleave", () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
    });
    return drop;
  }

  Object.assign(globalThis.cellcount, { make, load, bytesOf, startEngine, brighten, picker });
})();
