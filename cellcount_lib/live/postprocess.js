// From a thresholded heatmap to labelled cells: the same objects as cellcount_lib/postprocess.
//
// A picture of width x height pixels is a flat array, row by row; a label map is an Int32Array in
// which 0 is background and every cell has a number. Comments name the Python that a part follows.
"use strict";
(() => {
  const EDGES = [[-1, 0], [0, -1], [0, 1], [1, 0]]; // (row, column) of neighbours
  const ALL = [...EDGES, [-1, -1], [-1, 1], [1, -1], [1, 1]];

  // Call visit(neighbour) for the neighbours of a pixel that lie within the picture.
  function neighbours(pixel, width, height, steps, visit) {
    const row = Math.floor(pixel / width), column = pixel - row * width;
    for (let n = 0; n < steps.length; n++) {
      const y = row + steps[n][0], x = column + steps[n][1];
      if (y >= 0 && y < height && x >= 0 && x < width) visit(y * width + x);
    }
  }

  // An array of a kind from its places. With its own from() or map() a picture takes far longer.
  function made(Kind, length, valueAt) {
    const out = new Kind(length);
    for (let i = 0; i < length; i++) out[i] = valueAt(i);
    return out;
  }

  // Round to the nearest whole number, halves to the even one (np.rint).
  function rint(x) {
    const near = Math.round(x);
    return near - x === 0.5 && near % 2 ? near - 1 : near;
  }

  // Label connected components, by edges (1) or by edges and corners (2), in the order of their
  // first pixel (data/sample.py: components). Each pixel points to an earlier one it is joined to;
  // two that both touch a third one of the row above or before need not be joined again.
  function components(mask, width, height, connectivity = 1) {
    const earlier = new Int32Array(mask.length), labels = new Int32Array(mask.length);
    const root = (p) => {
      while (earlier[p] !== p) p = earlier[p] = earlier[earlier[p]];
      return p;
    };
    const join = (p, q) => {
      const a = root(p), b = root(q);
      if (a < b) earlier[b] = a;
      else earlier[a] = b;
    };
    for (let y = 0, p = 0; y < height; y++) {
      for (let x = 0; x < width; x++, p++) {
        if (!mask[p]) continue;
        const left = x > 0 && mask[p - 1], up = y > 0 && mask[p - width];
        const before = x > 0 && y > 0 && mask[p - width - 1], after = x + 1 < width && y > 0 && mask[p - width + 1];
        earlier[p] = left ? earlier[p - 1] : p;
        if (up && !(left && before)) join(p, p - width);
        if (connectivity === 1 || up) continue;
        if (before && !left) join(p, p - width - 1);
        if (after) join(p, p - width + 1);
      }
    }
    let count = 0;
    for (let p = 0; p < mask.length; p++) {
      if (mask[p]) labels[p] = earlier[p] === p ? ++count : labels[earlier[p]];
    }
    return { labels, count };
  }

  // Pixels of each label; [0] are those of the background.
  function areas(labels, count) {
    const sizes = new Int32Array(count + 1);
    for (let p = 0; p < labels.length; p++) sizes[labels[p]]++;
    return sizes;
  }

  function dropSmall({ labels, count }, below) {
    const sizes = areas(labels, count);
    return { labels: made(Int32Array, labels.length, (p) => (sizes[labels[p]] < below ? 0 : labels[p])), count };
  }

  // Fill small holes and label what is left (cleaning.py: Cleaning.components).
  function cleaned(mask, width, height, cleaning) {
    const outside = components(made(Uint8Array, mask.length, (p) => 1 - mask[p]), width, height);
    const sizes = areas(outside.labels, outside.count);
    const filled = made(Uint8Array, mask.length, (p) => mask[p] || +(sizes[outside.labels[p]] < cleaning.holes_below));
    return components(filled, width, height, cleaning.connectivity);
  }

  // Squared distance from one row or column of squared distances: the lowest of the parabolas that
  // stand on its pixels (Felzenszwalb and Huttenlocher 2012).
  function lowerEnvelope(line, out) {
    const feet = [], from = [];
    const height = (foot, x) => (x - foot) ** 2 + line[foot];
    for (let q = 0; q < line.length; q++) {
      if (line[q] === Infinity) continue;
      let start = -Infinity;
      while (feet.length) {
        const foot = feet[feet.length - 1];
        start = (line[q] + q * q - line[foot] - foot * foot) / (2 * (q - foot));
        if (start > from[from.length - 1]) break;
        feet.pop(), from.pop(), (start = -Infinity);
      }
      feet.push(q), from.push(start);
    }
    for (let x = 0, k = 0; x < line.length; x++) {
      while (k + 1 < feet.length && from[k + 1] < x) k++;
      out[x] = feet.length ? height(feet[k], x) : Infinity;
    }
  }

  // Distance of every pixel to the nearest one outside (splitting.py: distance_inside).
  function distanceInside(mask, width, height) {
    const distance = made(Float64Array, mask.length, (p) => (mask[p] ? Infinity : 0));
    const pass = (lines, length, place) => {
      const line = new Float64Array(length), out = new Float64Array(length);
      for (let n = 0; n < lines; n++) {
        for (let i = 0; i < length; i++) line[i] = distance[place(n, i)];
        lowerEnvelope(line, out);
        for (let i = 0; i < length; i++) distance[place(n, i)] = out[i];
      }
    };
    pass(width, height, (x, y) => y * width + x);
    pass(height, width, (y, x) => y * width + x);
    return distance.map(Math.sqrt);
  }

  // Mark the peaks from which no way leads higher without going down by more than `depth` first:
  // one marker per cell (splitting.py: the reconstruction in _split, h-maxima).
  function markPeaks(ground, mask, depth, width, height) {
    const marked = new Uint8Array(ground.length), seen = new Int32Array(ground.length);
    for (let peak = 0; peak < ground.length; peak++) {
      if (!mask[peak] || marked[peak]) continue;
      const flood = [peak];
      let highest = true;
      seen[peak] = peak + 1;
      const visit = (p) => {
        if (ground[p] > ground[peak]) highest = false;
        if (!mask[p] || seen[p] === peak + 1 || ground[p] < ground[peak] - depth) return;
        seen[p] = peak + 1;
        flood.push(p);
      };
      for (let at = 0; at < flood.length && highest; at++) neighbours(flood[at], width, height, ALL, visit);
      if (highest) for (const p of flood) marked[p] = 1;
    }
    return components(marked, width, height, 2);
  }

  // A heap that hands out the pixel on the highest ground first; of equal ones, the one that came first.
  class Heap {
    items = [];
    static before = (a, b) => a.ground > b.ground || (a.ground === b.ground && a.age < b.age);
    push(item) {
      const { items } = this;
      let at = items.push(item) - 1;
      for (let up; at > 0 && Heap.before(item, items[(up = (at - 1) >> 1)]); at = up) items[at] = items[up];
      items[at] = item;
    }
    pop() {
      const { items } = this, top = items[0], item = items.pop();
      if (!items.length) return top;
      let at = 0;
      for (let down; (down = 2 * at + 1) < items.length; at = down) {
        if (down + 1 < items.length && Heap.before(items[down + 1], items[down])) down++;
        if (!Heap.before(items[down], item)) break;
        items[at] = items[down];
      }
      items[at] = item;
      return top;
    }
  }

  // Flood the mask from the markers, highest ground first (skimage.segmentation.watershed).
  function watershed(ground, markers, mask, width, height) {
    const pieces = markers.slice(), heap = new Heap();
    let age = 0;
    pieces.forEach((piece, p) => piece && heap.push({ pixel: p, ground: ground[p], age: 0 }));
    while (heap.items.length) {
      const { pixel } = heap.pop();
      neighbours(pixel, width, height, ALL, (p) => {
        if (!mask[p] || pieces[p]) return;
        pieces[p] = pieces[pixel];
        heap.push({ pixel: p, ground: ground[p], age: ++age });
      });
    }
    return pieces;
  }

  // Height of the highest pass between each two pieces that touch (splitting.py: _passes).
  function highestPasses(pieces, count, ground, width, height) {
    const passes = Array.from({ length: count + 1 }, () => new Map());
    pieces.forEach((piece, pixel) => {
      if (!piece) return;
      neighbours(pixel, width, height, ALL, (p) => {
        const other = pieces[p], pass = Math.min(ground[pixel], ground[p]);
        if (other && other !== piece && pass > (passes[piece].get(other) ?? -1)) passes[piece].set(other, pass);
      });
    });
    return passes;
  }

  // Join pieces of fewer than `below` pixels, the smallest first, to the neighbour over the highest
  // pass (splitting.py: _join_small).
  function joinSmall(pieces, count, ground, below, width, height) {
    const sizes = areas(pieces, count), passes = highestPasses(pieces, count, ground, width, height);
    const hostOf = Int32Array.from(sizes, (_, piece) => piece);
    for (;;) {
      let small = 0;
      for (let piece = 1; piece <= count; piece++) {
        if (passes[piece].size && sizes[piece] < below && !(small && sizes[small] <= sizes[piece])) small = piece;
      }
      if (!small) break;
      const [[host]] = [...passes[small]].sort(([a, high], [b, low]) => low - high || a - b);
      for (const [other, pass] of passes[small]) {
        passes[other].delete(small);
        if (other === host) continue;
        const highest = Math.max(pass, passes[host].get(other) ?? 0);
        passes[host].set(other, highest), passes[other].set(host, highest);
      }
      passes[small].clear();
      sizes[host] += sizes[small], (sizes[small] = 0);
      hostOf.forEach((joined, piece) => joined === small && (hostOf[piece] = host));
    }
    return pieces.map((piece) => hostOf[piece]);
  }

  // Split every object by the peaks of its ground that stand out by `depth` (splitting.py: _split).
  function split({ labels, count }, groundOf, depth, below, width, height) {
    const out = new Int32Array(labels.length);
    let found = 0;
    boxes(labels, count, width, height).forEach((box, label) => {
      if (!box || !label) return;
      const { x, y, w, h } = box;
      const whole = (p) => (y + Math.floor(p / w)) * width + x + (p % w); // its place in the picture
      const mask = made(Uint8Array, w * h, (p) => +(labels[whole(p)] === label));
      const ground = groundOf(mask, w, h, whole);
      const markers = markPeaks(ground, mask, depth, w, h);
      let pieces = mask;
      if (markers.count > 1) {
        pieces = watershed(ground, markers.labels, mask, w, h);
        pieces = joinSmall(pieces, markers.count, ground, below, w, h);
      }
      let highest = 0;
      pieces.forEach((piece, p) => {
        if (!mask[p]) return;
        out[whole(p)] = found + piece;
        highest = Math.max(highest, piece);
      });
      found += highest;
    });
    return { labels: out, count: found };
  }

  // The rectangle of each label, with a pixel of margin that holds the background nearest to it.
  function boxes(labels, count, width, height) {
    const limits = Array.from({ length: count + 1 }, () => null);
    for (let y = 0, p = 0; y < height; y++) {
      for (let x = 0; x < width; x++, p++) {
        if (!labels[p]) continue;
        const l = (limits[labels[p]] ??= { left: x, right: x, top: y, bottom: y });
        l.left = Math.min(l.left, x), (l.right = Math.max(l.right, x)), (l.bottom = y);
      }
    }
    return limits.map((l) => {
      if (!l) return null;
      const x = Math.max(0, l.left - 1), y = Math.max(0, l.top - 1);
      return { x, y, w: Math.min(width, l.right + 2) - x, h: Math.min(height, l.bottom + 2) - y };
    });
  }

  // Let labels grow by `reach` pixels into what is free (skimage.segmentation.expand_labels).
  function grown(labels, reach, width, height) {
    const far = Math.floor(reach), disk = [];
    for (let y = -far; y <= far; y++) {
      for (let x = -far; x <= far; x++) if (x * x + y * y <= reach * reach) disk.push([y, x]);
    }
    const out = labels.slice(), nearest = new Float32Array(labels.length).fill(Infinity);
    labels.forEach((label, pixel) => {
      if (!label) return;
      let inner = true;
      neighbours(pixel, width, height, EDGES, (p) => (inner &&= labels[p] !== 0));
      if (inner) return;
      const row = Math.floor(pixel / width);
      neighbours(pixel, width, height, disk, (p) => {
        const down = Math.floor(p / width) - row, right = p - pixel - down * width;
        const distance = down * down + right * right;
        if (!labels[p] && distance < nearest[p]) (nearest[p] = distance), (out[p] = label);
      });
    });
    return out;
  }

  // Let every pixel of the mask follow the flow, the two planes after the first of a heatmap, and label
  // it by where it ends: at a peak of the ends counted in squares of a `step` (following.py: Follow).
  function followed(mask, heatmap, step, width, height) {
    const [STEPS, REACH, FLOW_UNIT] = [32, 3, 5], pixels = width * height, { fround } = Math;
    const [columns, rows] = [width, height].map((side) => Math.floor(side / step) + 1);
    const square = new Int32Array(pixels).fill(-1), ends = new Int32Array(rows * columns);
    const length = (p) => Math.max(1, fround(Math.hypot(fround(heatmap[pixels + p] / FLOW_UNIT), fround(heatmap[2 * pixels + p] / FLOW_UNIT))));
    const flow = (plane) => made(Float32Array, pixels, (p) =>
      mask[p] ? fround(fround(fround(heatmap[plane * pixels + p] / FLOW_UNIT) / length(p)) * fround(step)) : 0);
    const [down, right] = [flow(1), flow(2)];
    const clip = (value, side) => Math.min(Math.max(value, 0), side - 1);
    for (let p = 0; p < pixels; p++) {
      if (!mask[p]) continue;
      let y = Math.floor(p / width), x = p % width;
      for (let n = 0; n < STEPS; n++) {
        const at = rint(y) * width + rint(x);
        [y, x] = [clip(y + down[at], height), clip(x + right[at], width)];
      }
      square[p] = Math.floor(y / step) * columns + Math.floor(x / step);
      ends[square[p]]++;
    }
    const around = (values, reach, join) => made(Int32Array, values.length, (s) => {
      const row = Math.floor(s / columns), column = s % columns;
      let out = 0;
      for (let i = Math.max(0, row - reach); i <= Math.min(rows - 1, row + reach); i++) {
        for (let j = Math.max(0, column - reach); j <= Math.min(columns - 1, column + reach); j++) out = join(out, values[i * columns + j]);
      }
      return out;
    });
    const sums = around(ends, 1, (a, b) => a + b), highest = around(sums, 2, Math.max);
    const peaks = made(Uint8Array, sums.length, (s) => +(sums[s] > 0 && sums[s] === highest[s]));
    const { labels, count } = components(peaks, columns, rows, 2), cells = grown(labels, REACH, columns, rows);
    return { labels: made(Int32Array, pixels, (p) => (mask[p] ? cells[square[p]] : 0)), count };
  }

  // How touching cells are told apart, by the names of the Python classes.
  const WAYS = {
    Way: (way, clean) => clean.objects(),
    Necks: (way, clean, { width, height, cleaning }) =>
      split(clean.objects(), distanceInside, way.depth, cleaning.pieces_below, width, height),
    Peaks: (way, clean, { width, height, cleaning, heatmap }) => {
      const ground = (mask, w, h, whole) => made(Float64Array, w * h, (p) => (mask[p] ? heatmap[whole(p)] : 0));
      return split(clean.objects(), ground, way.height, cleaning.pieces_below, width, height);
    },
    Cores: (way, clean, { width, height, cleaning }) => {
      const cores = dropSmall(clean.components(), way.cores_below), reach = +way.grow.toFixed(6);
      const labels = grown(cores.labels, reach, width, height);
      return dropSmall({ labels, count: cores.count }, cleaning.objects_below);
    },
    Follow: (way, clean, { width, height, cleaning, heatmap }) =>
      dropSmall(followed(clean.objects().labels, heatmap, way.step, width, height), cleaning.objects_below),
  };

  // Sizes for pictures resized by `scale` (cleaning.py: Sized.scaled).
  function scaled(sizes, scale) {
    return Object.fromEntries(Object.entries(sizes).map(([name, { value, power, whole }]) => {
      if (scale === 1 || !power) return [name, value];
      const size = value * (power === 1 ? scale : scale * scale);
      return [name, whole ? Math.floor(size + 0.5) : size];
    }));
  }

  // Number labels 1, 2, ... by their first pixel, row by row.
  function inReadingOrder({ labels, count }) {
    const number = new Int32Array(count + 1);
    let given = 0;
    const ordered = made(Int32Array, labels.length, (p) => labels[p] && (number[labels[p]] ||= ++given));
    return { labels: ordered, count: given };
  }

  // Label the cells of a mask, a Uint8Array of 0 and 1; `rules` are written by live/assets.py.
  function postprocess(mask, width, height, rules, scale, heatmap) {
    const cleaning = scaled(rules.cleaning, scale), way = scaled(rules.way.sizes, scale);
    const clean = {
      components: () => cleaned(mask, width, height, cleaning),
      objects: () => dropSmall(clean.components(), cleaning.objects_below),
    };
    return inReadingOrder(WAYS[rules.way.name](way, clean, { width, height, cleaning, heatmap }));
  }

  globalThis.cellcount = Object.assign(globalThis.cellcount ?? {}, { made, rint, components, areas, postprocess });
})();
