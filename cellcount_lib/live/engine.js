// The part of the page that computes, in a worker: heatmaps by ONNX Runtime, and cells of them.
//
// Its text is joined to ONNX Runtime's, postprocess.js and picture.js by live/assets.py. A question
// is { id, ask, ... }, an answer { id, ...} or { id, error }; { id, share } says how far it is.
"use strict";
(() => {
  const { made, rint, resize, seen, postprocess, otsuMask, estimatedWidth } = globalThis.cellcount;
  const { medianWidth, ofNeurons, inYellow } = globalThis.cellcount;
  const MOST_PIXELS = 400_000; // that enter the network at once; 1000 bytes each
  const SMALLEST_TILE = 256;
  const OTSU_WIDTH = 38; // px: the cells for which post-processing is made (scoring: CELL_PX)
  const NEAR = 1.1; // times the width that cells were expected to have (prediction/counter.py)
  const LOOKS = 3; // at most so many times a network looks at a picture
  const [NUCLEI, NEURONS] = ["nuclei-flows", "neurons"];

  const networks = new Map(); // by name: { session, info }
  let picture = null, look = null, heatmaps = new Map(); // by network and magnification
  let widths = new Map(); // of the cells, as each network finds them

  // Parts of a side, with what a pixel depends on around them (inference/tiles.py: tiles).
  function tiles(side, kept, halo, multiple) {
    const onGrid = (length) => Math.ceil(length / multiple) * multiple;
    [kept, halo] = [onGrid(kept), onGrid(halo)];
    return Array.from({ length: Math.ceil(side / kept) }, (_, n) => {
      const from = n * kept, to = Math.min(from + kept, side);
      return { from, to, readFrom: Math.max(0, from - halo), readTo: Math.min(side, to + halo) };
    });
  }

  // A part of a picture as a network takes it, one colour after the other.
  function pixels({ width, rgb }, y, x) {
    const h = y.readTo - y.readFrom, w = x.readTo - x.readFrom, planes = new Uint8Array(3 * h * w);
    for (let i = 0, p = 0; i < h; i++) {
      let at = 3 * ((y.readFrom + i) * width + x.readFrom);
      for (let j = 0; j < w; j++, p++) for (let c = 0; c < 3; c++) planes[c * h * w + p] = rgb[at++];
    }
    return new ort.Tensor("uint8", planes, [1, 3, h, w]);
  }

  // The network's planes for a picture as it is, each an array: logits first.
  async function tiledPlanes({ session, info }, small, tell) {
    const { halo, multiple } = info, { width, height } = small;
    const out = Array.from({ length: info.planes }, () => new Float32Array(width * height));
    const whole = width * height <= MOST_PIXELS;
    const kept = Math.max(SMALLEST_TILE, Math.floor((Math.sqrt(MOST_PIXELS) - 2 * halo) / multiple) * multiple);
    const [rows, columns] = [height, width].map((side) => tiles(side, whole ? side : kept, whole ? 0 : halo, multiple));
    let done = 0;
    for (const y of rows) {
      for (const x of columns) {
        const h = y.readTo - y.readFrom, w = x.readTo - x.readFrom;
        const { logits: { data } } = await session.run({ pixels: pixels(small, y, x) });
        for (const [n, plane] of out.entries()) {
          for (let i = y.from; i < y.to; i++) {
            for (let j = x.from; j < x.to; j++) {
              plane[i * width + j] = data[(n * h + i - y.readFrom) * w + j - x.readFrom];
            }
          }
        }
        tell(++done / (rows.length * columns.length));
      }
    }
    return out;
  }

  // Values of a picture turned to its mirror image, across or upside down.
  function flipped(values, channels, width, across, down) {
    const height = values.length / channels / width, out = new values.constructor(values.length);
    for (let y = 0, at = 0; y < height; y++) {
      for (let x = 0; x < width; x++) {
        const from = (down ? height - 1 - y : y) * width + (across ? width - 1 - x : x);
        for (let c = 0; c < channels; c++, at++) out[at] = values[from * channels + c];
      }
    }
    return out;
  }

  // Planes as they are kept, over mirror images if the model says so (inference/engine.py: logit_map).
  // A flow across or down is the other way round in a mirror (inference/formulations.py: Flow).
  async function keptPlanes(network, small, tell) {
    const ways = network.info.mirrored ? [[false, false], [true, false], [false, true], [true, true]] : [[false, false]];
    const { width, rgb } = small, sums = Array.from({ length: network.info.planes }, () => new Float32Array(rgb.length / 3));
    for (const [turn, [across, down]] of ways.entries()) {
      const turned = { ...small, rgb: flipped(rgb, 3, width, across, down) };
      const planes = await tiledPlanes(network, turned, (share) => tell((turn + share) / ways.length));
      for (const [n, plane] of planes.entries()) {
        const sign = (n === 1 && down) || (n === 2 && across) ? -1 : 1;
        flipped(plane, 1, width, across, down).forEach((value, p) => (sums[n][p] += sign * value));
      }
    }
    return sums.map((sum) => made(Float32Array, sum.length, (p) => {
      if (Number.isNaN(sum[p])) throw Error("The network answers with NaN: this model cannot be used.");
      return rint(Math.min(8, Math.max(-8, sum[p] / ways.length)) * 256) / 256; // heatmaps.py: rounded
    }));
  }

  // One plane after the other, at full size; of the first one probabilities are made.
  async function heatmap(network, magnified, tell) {
    const key = `${network.info.name} ${magnified}`;
    if (!heatmaps.has(key)) {
      const shown = network.info.name === NEURONS ? inYellow(picture) : picture;
      const small = seen(shown, network.info.scale * magnified, network.info.stretch);
      const pixels = picture.width * picture.height, sizes = [[small.width, small.height], [picture.width, picture.height]];
      const planes = await keptPlanes(network, small, tell), heat = new Float32Array(planes.length * pixels);
      for (const [n, plane] of planes.entries()) heat.set(resize(plane, 1, ...sizes, "bilinear"), n * pixels);
      for (let p = 0; p < pixels; p++) heat[p] = 1 / (1 + Math.exp(-heat[p]));
      heatmaps.set(key, heat);
    }
    return heatmaps.get(key);
  }

  // The cells of a network where they are expected to be so wide.
  async function cells(network, rules, cellPx, cutoff, tell) {
    const { cell_px: known, protocol_scale } = network.info;
    const magnified = cellPx !== null && known !== null ? known / cellPx : 1;
    const heat = await heatmap(network, magnified, tell);
    const mask = made(Uint8Array, picture.width * picture.height, (p) => +(heat[p] > cutoff));
    const found = postprocess(mask, picture.width, picture.height, rules, protocol_scale / magnified, heat);
    return { found, heat, expected: known === null ? null : known / magnified };
  }

  // Which width a network finds, looking again where it is not the expected one (prediction/counter.py:
  // counted); at the network's own cutoff, so that a picture is not seen anew when another is chosen.
  async function settled(network, rules, tell) {
    const { name, threshold } = network.info;
    if (name === NEURONS) return { cellPx: null, from: "taken to be as in training" };
    if (!widths.has(name)) {
      let cellPx = look.width, from = cellPx === null ? "not to be told: taken to be as in training" : "estimated";
      for (let looks = 1; looks < LOOKS; looks++) {
        const { found, expected } = await cells(network, rules, cellPx, threshold, tell);
        const width = medianWidth(found);
        if (width === null || expected === null || (expected / NEAR <= width && width <= expected * NEAR)) break;
        [cellPx, from] = [width, "as found at a first look"];
      }
      widths.set(name, { cellPx, from });
    }
    return widths.get(name);
  }

  // Measures of every cell, as in objects.csv (prediction/outputs.py: measure).
  function measured({ labels, count }, heat) {
    const rows = Array.from({ length: count }, (_, n) => ({ object: n + 1, x: 0, y: 0, area_px: 0, mean_intensity: 0, confidence: 0 }));
    for (let p = 0; p < labels.length; p++) {
      if (!labels[p]) continue;
      const row = rows[labels[p] - 1];
      row.area_px++, (row.x += p % picture.width), (row.y += Math.floor(p / picture.width));
      row.mean_intensity += picture.grey[p];
      if (heat) row.confidence += heat[p];
    }
    for (const row of rows) {
      for (const name of ["x", "y", "mean_intensity", "confidence"]) row[name] /= row.area_px;
      if (!heat) row.confidence = null;
    }
    return rows;
  }

  // The channels of a feature map that vary most, each { channel, values, low, high }.
  function mostVaried({ data, dims: [, channels, height, width] }, most) {
    const maps = Array.from({ length: channels }, (_, channel) => {
      const values = data.slice(channel * height * width, (channel + 1) * height * width);
      let [low, high, sum, squares] = [Infinity, -Infinity, 0, 0];
      for (const v of values) {
        (low = Math.min(low, v)), (high = Math.max(high, v));
        (sum += v), (squares += v * v);
      }
      return { channel, values, low, high, varies: squares - (sum * sum) / values.length };
    });
    return { channels, height, width, maps: maps.sort((a, b) => b.varies - a.varies).slice(0, most) };
  }

  const asks = {
    async open({ info, onnx, wasm, glue }) {
      if (networks.has(info.name)) return {};
      Object.assign(ort.env.wasm, { numThreads: 1, proxy: false });
      if (wasm) {
        ort.env.wasm.wasmBinary = wasm;
        ort.env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([glue], { type: "text/javascript" })) };
      }
      const session = await ort.InferenceSession.create(new Uint8Array(onnx), { executionProviders: ["wasm"] });
      networks.set(info.name, { session, info });
      return {};
    },

    // Take a picture: { width, height, rgb, grey }; what a first look tells of it.
    async look({ given }) {
      picture = given;
      [heatmaps, widths] = [new Map(), new Map()];
      look = otsuMask(picture);
      look.width = estimatedWidth(look, picture.width, picture.height);
      return { suits: ofNeurons(picture) ? NEURONS : NUCLEI };
    },

    // Find the cells by the network of a name, or by Otsu's threshold if it is null.
    async count({ name, rules, said, cutoff }, tell) {
      const network = networks.get(name), estimated = look.width === null ? "not to be told" : "estimated";
      let { cellPx, from } = { cellPx: said ?? look.width, from: said === null ? estimated : "as you say" };
      if (!network) {
        const scale = (cellPx ?? OTSU_WIDTH) / OTSU_WIDTH, { mask } = otsuMask(picture, scale);
        const found = postprocess(mask, picture.width, picture.height, rules, scale, null);
        return { labels: found.labels, objects: measured(found, null), cellPx, from };
      }
      if (said === null) ({ cellPx, from } = await settled(network, rules, tell));
      const { found, heat } = await cells(network, rules, cellPx, cutoff, tell);
      return { labels: found.labels, objects: measured(found, heat), cellPx, from };
    },

    // What a network computes on its way from a small picture to its answer: values by their names.
    async blocks({ name, small, values, most }) {
      const whole = (side) => ({ readFrom: 0, readTo: side });
      const answer = await networks.get(name).session.run({ pixels: pixels(small, whole(small.height), whole(small.width)) });
      return { blocks: values.map((value) => mostVaried(answer[value], most)) };
    },

    // How many cells a network finds at each of some cutoffs.
    async sweep({ name, rules, said, cutoffs }, tell) {
      const network = networks.get(name), counts = [];
      const { cellPx } = said === null ? await settled(network, rules, tell) : { cellPx: said };
      for (const cutoff of cutoffs) {
        const { found } = await cells(network, rules, cellPx, cutoff, () => {});
        tell(counts.push(found.count) / cutoffs.length);
      }
      return { counts };
    },
  };

  globalThis.onmessage = async ({ data: { id, ask, ...about } }) => {
    try {
      const answer = await asks[ask](about, (share) => postMessage({ id, share }));
      postMessage({ id, ...answer }, answer.labels ? [answer.labels.buffer] : []);
    } catch (error) {
      postMessage({ id, error: String(error?.message ?? error) });
    }
  };
})();
