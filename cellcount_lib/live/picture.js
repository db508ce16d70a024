// Intensities and sizes of a picture, before the network sees it: the same numbers as the Python.
//
// A picture is { width, height, rgb }, rgb a Uint8Array of three bytes per pixel, row by row. NumPy
// and Pillow compute in 32 bits here and there, and so does this (Math.fround).
"use strict";
(() => {
  const { made, rint, components, areas } = globalThis.cellcount;
  const { fround } = Math;

  // A percentile of whole numbers from how often each occurs (np.percentile, linear).
  function percentile(often, percent) {
    let total = 0;
    for (const n of often) total += n;
    const place = (percent / 100) * (total - 1), below = Math.floor(place);
    const valueAt = (rank) => {
      let value = 0;
      for (let seen = often[0]; seen <= rank; seen += often[++value]);
      return value;
    };
    const low = valueAt(below), high = valueAt(Math.min(below + 1, total - 1));
    return low + (high - low) * (place - below);
  }

  function histogram(values, levels) {
    const often = new Uint32Array(levels);
    for (const value of values) often[value]++;
    return often;
  }

  // Map stored values to 8 bits (data/images.py: to_uint8).
  function toUint8(values) {
    let largest = 0, smallest = Infinity;
    for (const value of values) (largest = Math.max(largest, value)), (smallest = Math.min(smallest, value));
    if (largest <= 255) return new Uint8Array(values);
    const often = histogram(values, largest + 1);
    let low = percentile(often, 0.1), high = percentile(often, 99.9);
    if (high <= low) (low = smallest), (high = largest);
    const table = Uint8Array.from(often, (_, level) => {
      const share = fround(fround(level - fround(low)) / fround(Math.max(high - low, 1)));
      return rint(fround(Math.min(Math.max(share, 0), 1) * 255));
    });
    return made(Uint8Array, values.length, (i) => table[values[i]]);
  }

  // The brightest channel of every pixel (data/sample.py: brightness).
  function brightness({ width, height, rgb }) {
    const out = new Uint8Array(width * height);
    for (let p = 0, i = 0; p < out.length; p++, i += 3) out[p] = Math.max(rgb[i], rgb[i + 1], rgb[i + 2]);
    return out;
  }

  // The 1st and the 99.8th percentile of the brightest channel (data/stretch.py).
  function range(picture) {
    const often = histogram(brightness(picture), 256);
    return { low: percentile(often, 1), high: percentile(often, 99.8) };
  }

  const LEAST_RANGE = 24;

  function stretched(picture) {
    const { low, high } = range(picture);
    if (high - low < LEAST_RANGE) return picture;
    const table = Uint8Array.from({ length: 256 }, (_, level) =>
      rint(255 * Math.min(Math.max((level - low) / (high - low), 0), 1)));
    return { ...picture, rgb: made(Uint8Array, picture.rgb.length, (i) => table[picture.rgb[i]]) };
  }

  // What Pillow's filters weigh: BOX, BILINEAR and BICUBIC, and how far they reach.
  const FILTERS = {
    box: { reach: 0.5, weight: (x) => +(x > -0.5 && x <= 0.5) },
    bilinear: { reach: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
    bicubic: {
      reach: 2,
      weight: (x) => {
        const a = Math.abs(x);
        if (a < 1) return (1.5 * a - 2.5) * a * a + 1;
        return a < 2 ? -0.5 * (((a - 5) * a + 8) * a - 4) : 0;
      },
    },
  };

  // Which old pixels a new one is made of, and by which weights.
  function recipe(oldLength, newLength, { reach, weight }) {
    const scale = oldLength / newLength, wide = Math.max(scale, 1), support = reach * wide;
    return Array.from({ length: newLength }, (_, n) => {
      const centre = (n + 0.5) * scale;
      const from = Math.max(0, Math.trunc(centre - support + 0.5));
      const to = Math.min(oldLength, Math.trunc(centre + support + 0.5));
      const weights = Array.from({ length: to - from }, (_, i) => weight((i + from - centre + 0.5) / wide));
      const sum = weights.reduce((a, b) => a + b, 0);
      return { from, weights: weights.map((w) => w / sum) };
    });
  }

  const BITS = 2 ** 22; // Pillow weighs bytes with whole numbers

  // Resize `channels` interleaved values per pixel, bytes or floats: across, then down.
  function resize(values, channels, [width, height], [newWidth, newHeight], filter) {
    const bytes = values instanceof Uint8Array;
    const pass = (source, lines, steps, lineStride, stride, outLineStride, outStride) => {
      const out = new source.constructor(lines * steps.length * channels);
      steps.forEach(({ from, weights }, n) => {
        const factors = bytes ? weights.map((w) => Math.trunc(w * BITS + (w < 0 ? -0.5 : 0.5))) : weights;
        for (let line = 0; line < lines; line++) {
          for (let c = 0; c < channels; c++) {
            let sum = bytes ? BITS / 2 : 0, at = line * lineStride + from * stride + c;
            for (let i = 0; i < factors.length; i++, at += stride) sum += source[at] * factors[i];
            out[line * outLineStride + n * outStride + c] = bytes ? Math.min(255, Math.max(0, Math.floor(sum / BITS))) : sum;
          }
        }
      });
      return out;
    };
    let out = values;
    if (newWidth !== width) {
      const across = recipe(width, newWidth, FILTERS[filter]);
      out = pass(out, height, across, width * channels, channels, newWidth * channels, channels);
    }
    if (newHeight !== height) {
      const down = recipe(height, newHeight, FILTERS[filter]), row = newWidth * channels;
      out = pass(out, newWidth, down, channels, row, channels, row);
    }
    return out;
  }

  // The picture as the network sees it (inference/network.py: seen).
  function seen(picture, scale, stretch) {
    const size = [picture.width, picture.height];
    const [width, height] = size.map((n) => Math.max(1, rint(n * scale)));
    const shrinks = width <= picture.width && height <= picture.height;
    const rgb = resize(picture.rgb, 3, size, [width, height], shrinks ? "box" : "bicubic");
    return stretch ? stretched({ width, height, rgb }) : { width, height, rgb };
  }

  // Blur by a Gaussian that ends at four sigma; a picture goes on mirrored (scipy.ndimage).
  function blurred(values, width, height, sigma) {
    const radius = Math.trunc(4 * sigma + 0.5);
    let weights = Array.from({ length: radius + 1 }, (_, d) => Math.exp((-0.5 / (sigma * sigma)) * d * d));
    const sum = weights.reduce((a, b) => a + b, 0) * 2 - weights[0];
    weights = weights.map((w) => w / sum);
    const pass = (source, lines, length, lineStride, stride) => {
      const out = new Float32Array(source.length), line = new Float64Array(length + 2 * radius);
      const inside = made(Int32Array, line.length, (i) => {
        const around = (((i - radius) % (2 * length)) + 2 * length) % (2 * length);
        return around < length ? around : 2 * length - 1 - around;
      });
      for (let n = 0; n < lines; n++) {
        for (let i = 0; i < line.length; i++) line[i] = source[n * lineStride + inside[i] * stride];
        for (let i = 0; i < length; i++) {
          let total = line[i + radius] * weights[0];
          for (let d = radius; d > 0; d--) total += (line[i + radius - d] + line[i + radius + d]) * weights[d];
          out[n * lineStride + i * stride] = total;
        }
      }
      return out;
    };
    return pass(pass(values, width, height, 1, width), height, width, width, 1);
  }

  // The threshold that best parts a histogram of 256 bins (skimage.filters.threshold_otsu).
  function otsuThreshold(grey, low, high) {
    const n = 256, often = new Float64Array(n), step = (high - low) / n;
    const edge = (i) => fround(i === n ? high : low + i * step);
    for (const value of grey) {
      let bin = Math.min(n - 1, Math.floor(((value - low) / (high - low)) * n));
      if (value < edge(bin)) bin--;
      else if (bin < n - 1 && value >= edge(bin + 1)) bin++;
      often[bin]++;
    }
    const middle = (i) => fround(fround(edge(i) + edge(i + 1)) / 2);
    const sums = (bins) => {
      let weight = 0, moment = 0;
      return bins.map((i) => {
        weight = fround(weight + often[i]);
        moment = fround(moment + fround(often[i] * middle(i)));
        return { weight, mean: fround(moment / weight) };
      });
    };
    const bins = Array.from({ length: n }, (_, i) => i);
    const below = sums(bins), above = sums(bins.reverse()).reverse();
    let best = 0, most = -Infinity;
    for (let i = 0; i + 1 < n; i++) {
      const apart = fround(below[i].mean - above[i + 1].mean);
      const between = fround(fround(below[i].weight * above[i + 1].weight) * fround(apart * apart));
      if (between > most) (most = between), (best = i);
    }
    return middle(best);
  }

  // Mask of what is above Otsu's threshold after a blur (postprocess/otsu.py: otsu_mask).
  function otsuMask(picture, scale = 1) {
    const grey = blurred(brightness(picture), picture.width, picture.height, 2 * scale);
    let low = Infinity, high = -Infinity;
    for (const value of grey) (low = Math.min(low, value)), (high = Math.max(high, value));
    if (high - low < 1e-3) return { grey, mask: new Uint8Array(grey.length) };
    const threshold = otsuThreshold(grey, low, high);
    return { grey, mask: made(Uint8Array, grey.length, (p) => +(grey[p] > threshold)) };
  }

  // Width of a typical cell; null where nothing tells it (prediction/sizes.py: estimated_width).
  function estimatedWidth({ mask }, width, height) {
    const { labels, count } = components(mask, width, height);
    const found = areas(labels, count).slice(1).filter((area) => area > 12).sort();
    if (!found.length) return null;
    const half = found.reduce((a, b) => a + b) / 2;
    let sum = 0;
    const large = found.find((area) => (sum += area) >= half);
    const kept = found.filter((area) => area >= 0.1 * large), n = kept.length;
    if (n < Math.max(3, found.length / 2)) return null;
    const median = (kept[Math.floor((n - 1) / 2)] + kept[Math.floor(n / 2)]) / 2;
    return 2 * Math.sqrt(median / Math.PI);
  }

  // Width of the median object; null of fewer than three (prediction/sizes.py: median_width).
  function medianWidth({ labels, count }) {
    if (count < 3) return null;
    const sorted = areas(labels, count).slice(1).sort();
    const median = (sorted[Math.floor((count - 1) / 2)] + sorted[Math.floor(count / 2)]) / 2;
    return 2 * Math.sqrt(median / Math.PI);
  }

  // How far the percentiles of red, green and blue lie apart (prediction/models.py: spreads).
  const spreads = ({ rgb }) => [0, 1, 2].map((c) => {
    const often = histogram(made(Uint8Array, rgb.length / 3, (p) => rgb[3 * p + c]), 256);
    return percentile(often, 99.8) - percentile(often, 1);
  });

  // Is a picture yellow or red (prediction/models.py: of_neurons)?
  function ofNeurons(picture) {
    const [red, , blue] = spreads(picture);
    return red > 2 * blue;
  }

  // A picture in the colour of the dye that the neurons' model knows (prediction/models.py: in_yellow).
  function inYellow(picture) {
    const [red, green, blue] = spreads(picture);
    if (red > 2 * blue && 0.5 * red <= green && green <= red) return picture;
    const bright = brightness(picture), dye = [1, 0.82, 0.07];
    return { ...picture, rgb: made(Uint8Array, picture.rgb.length, (i) => rint(bright[Math.floor(i / 3)] * dye[i % 3])) };
  }

  Object.assign(globalThis.cellcount, {
    ...{ toUint8, brightness, range, LEAST_RANGE, resize, seen, otsuMask, estimatedWidth },
    ...{ medianWidth, ofNeurons, inYellow },
  });
})();
