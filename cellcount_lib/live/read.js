// From a file to the values of its pixels: PNG and JPEG by the browser, 16 bits and TIFF by hand.
"use strict";
(() => {
  const { made, rint, toUint8 } = globalThis.cellcount;
  const MOST_PIXELS = 50e6;

  function checkSize(width, height) {
    if (width * height > MOST_PIXELS) {
      throw Error(`Expected at most ${MOST_PIXELS / 1e6} million pixels, found ${width} x ${height}; cut the picture into parts.`);
    }
  }

  async function inflate(bytes, format) {
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream(format));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  }

  // Header and compressed pixels of a PNG; null if it is none.
  function pngParts(bytes) {
    if (bytes.length < 33 || bytes[0] !== 0x89 || String.fromCharCode(...bytes.subarray(1, 4)) !== "PNG") return null;
    const view = new DataView(bytes.buffer), pixels = [];
    for (let at = 8; at + 8 <= bytes.length; ) {
      const length = view.getUint32(at), kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
      if (kind === "IDAT") pixels.push(bytes.subarray(at + 8, at + 8 + length));
      at += 12 + length;
    }
    const [width, height] = [view.getUint32(16), view.getUint32(20)];
    return { width, height, depth: bytes[24], colour: bytes[25], interlaced: bytes[28], pixels: new Blob(pixels) };
  }

  // A PNG of 16 bits, of which the browser would keep 8: undo the filter of each row.
  async function readPng16({ width, height, colour, interlaced, pixels }) {
    const stored = { 0: 1, 2: 3, 6: 4 }[colour];
    if (!stored || interlaced) throw Error("Expected a 16-bit PNG in grey or RGB, not interlaced; save it anew.");
    const data = await inflate(pixels, "deflate").catch(() => []), step = 2 * stored, row = width * step;
    if (data.length < height * (row + 1)) throw Error("The PNG is cut short or damaged; copy or download it again.");
    const rows = new Uint8Array(height * row);
    for (let y = 0; y < height; y++) {
      const filter = data[y * (row + 1)];
      for (let x = 0; x < row; x++) {
        const at = y * row + x;
        const left = x >= step ? rows[at - step] : 0, up = y ? rows[at - row] : 0, corner = x >= step && y ? rows[at - row - step] : 0;
        const guess = [() => 0, () => left, () => up, () => (left + up) >> 1, () => paeth(left, up, corner)][filter]();
        rows[at] = data[y * (row + 1) + 1 + x] + guess;
      }
    }
    const channels = Math.min(stored, 3), values = new Uint16Array(width * height * channels);
    for (let i = 0; i < values.length; i++) {
      const at = 2 * (Math.floor(i / channels) * stored + (i % channels));
      values[i] = (rows[at] << 8) | rows[at + 1];
    }
    return { width, height, channels, values };
  }

  function paeth(left, up, corner) {
    const [a, b, c] = [left, up, corner].map((value) => Math.abs(left + up - corner - value));
    return a <= b && a <= c ? left : b <= c ? up : corner;
  }

  async function readByBrowser(file) {
    let bitmap;
    try {
      bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    } catch {
      throw Error("Expected a PNG, JPEG or TIFF; this file cannot be read: it is damaged or of another kind.");
    }
    const { width, height } = bitmap;
    checkSize(width, height);
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    return { width, height, channels: 3, values: withoutAlpha(context.getImageData(0, 0, width, height).data) };
  }

  const withoutAlpha = (rgba) => made(Uint8Array, (rgba.length / 4) * 3, (i) => rgba[Math.floor(i / 3) * 4 + (i % 3)]);

  // The first page of a TIFF; UTIF decodes what lies in it.
  function readTiff(buffer, { UTIF }) {
    const pages = UTIF.decode(buffer).filter((page) => page.t256);
    if (!pages.length) throw Error("Expected a TIFF with a picture, found none in it.");
    const [page] = pages, tag = (number, usual) => (page[`t${number}`] ?? [usual])[0];
    const width = tag(256), height = tag(257), kind = tag(262, 1);
    let channels = tag(277, 1);
    checkSize(width, height);
    if (![1, 5, 7, 8, 32773, 32946].includes(tag(259, 1)) || tag(317, 1) > 2) throw Error("Expected a TIFF without compression or with LZW, deflate or JPEG.");
    if (tag(317, 1) === 2 && tag(258, 1) > 16) throw Error("Expected 32 bits without differences (predictor), found them.");
    if (kind === 0) throw Error("Expected 0 = black, found inverted grey (WhiteIsZero).");
    UTIF.decodeImage(buffer, page, pages);
    let values;
    if ([3, 6].includes(kind)) {
      [channels, values] = [3, withoutAlpha(UTIF.toRGBA8(page))]; // colour tables, JPEG's colours
    } else {
      const alpha = kind === 2 && channels === 4;
      if (![1, 3].includes(channels - alpha) || (channels > 1 && tag(284, 1) === 2)) {
        throw Error(`Expected grey or RGB, found ${channels} channels; save the one to count as a picture of its own.`);
      }
      const stored = numbers(page, tag(258, 1), tag(339, 1));
      channels -= alpha;
      values = alpha ? stored.filter((_, i) => i % 4 < 3) : stored;
    }
    return { width, height, channels, values, pages: pages.length };
  }

  // Arrays by SampleFormat (tag 339) and bits; a file of format 4 does not say what it holds.
  const UNSIGNED = { 8: Uint8Array, 16: Uint16Array, 32: Uint32Array };
  const SIGNED = { 8: Int8Array, 16: Int16Array, 32: Int32Array };
  const KINDS = { 1: UNSIGNED, 2: SIGNED, 3: { 32: Float32Array }, 4: UNSIGNED };

  // Pixels of a page, with the values of the file.
  function numbers(page, bits, format) {
    const Kind = KINDS[format]?.[bits];
    if (!Kind) {
      const found = format === 3 ? "floats" : format > 4 ? "complex numbers" : "integers";
      throw Error(`Expected integers of 8, 16 or 32 bits or floats of 32, found ${found} of ${bits} bits.`);
    }
    const { buffer, byteLength } = page.data.slice();
    if (bits < 32) return new Kind(buffer, 0, byteLength / Kind.BYTES_PER_ELEMENT); // UTIF mends the order
    const view = new DataView(buffer), get = `get${Kind.name.replace("Array", "")}`;
    return made(Kind, byteLength / 4, (i) => view[get](4 * i, page.isLE));
  }

  // Values for toUint8: signed ones and floats are mapped to 16 bits (prediction/reading.py: _whole_numbers).
  function wholeNumbers(values) {
    if (values instanceof Uint8Array || values instanceof Uint16Array) return values;
    let low = Infinity, high = -Infinity;
    for (const value of values) {
      if (!Number.isFinite(value)) throw Error("Expected numbers, found NaN or infinity among the pixels.");
      (low = Math.min(low, value)), (high = Math.max(high, value));
    }
    const span = high > low ? high - low : 1;
    return made(Uint16Array, values.length, (i) => rint(((values[i] - low) / span) * 65535));
  }

  // The share of pixels of which a channel has the largest value of all (prediction/checks.py).
  function saturated(values, channels) {
    let largest = -Infinity, often = 0;
    for (const value of values) (largest = Math.max(largest, value));
    for (let p = 0; p < values.length; p += channels) often += values.subarray(p, p + channels).includes(largest);
    return (often * channels) / values.length;
  }

  // Read a file as { width, height, rgb, grey, saturated, pages }: 8 bits to see, the mean of what is stored.
  async function readPicture(file, tiffReader) {
    const buffer = await file.arrayBuffer(), bytes = new Uint8Array(buffer);
    if (!bytes.length) throw Error("The file is empty; copy or download it again.");
    const isTiff = [0x4949, 0x4d4d].includes((bytes[0] << 8) | bytes[1]);
    const png = pngParts(bytes);
    if (png) checkSize(png.width, png.height);
    let read;
    if (isTiff) read = readTiff(buffer, await tiffReader());
    else read = png?.depth === 16 ? await readPng16(png) : await readByBrowser(file);
    const { width, height, channels, values, pages = 1 } = read, eight = toUint8(wholeNumbers(values)), each = 3 / channels;
    const rgb = channels === 3 ? eight : made(Uint8Array, 3 * eight.length, (i) => eight[Math.floor(i / each)]);
    const grey = made(Float32Array, width * height, (p) => {
      let sum = 0;
      for (let c = 0; c < channels; c++) sum += values[p * channels + c];
      return sum / channels;
    });
    return { width, height, rgb, grey, saturated: saturated(values, channels), pages };
  }

  Object.assign(globalThis.cellcount, { readPicture, inflate });
})();
