// The page that looks into a network: what each block computes for a picture, and what a unit sees.
//
// Every element with the class `cellcount-blocks` becomes such a page. Blocks, their order and their
// fields come from live/blocks.py, in ABOUT; a unit's maps come from the worker of engine.js.
"use strict";
(() => {
  const { ABOUT, readPicture, seen, inYellow, load, make, startEngine, brighten, picker } = globalThis.cellcount;
  const MOST_SIDE = 256; // pixels that the network sees: more would take seconds
  const MOST_MAPS = 8;
  const COARSE = 64; // pixels of a map: fewer are drawn as squares, more are smoothed
  const FIRST_SHOWN = 3; // a block whose units see neither a few pixels nor nearly everything
  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const NOTES = [
    `Of every block, the ${MOST_MAPS} channels that vary most are shown, each from its lowest value (black) to its highest (white).`,
    "Field: how many pixels of the picture a pixel of the map can see. Step: how many lie between two neighbours of the map.",
    "The checks in the decoder's maps come from doubling: every pixel becomes four, by four sets of weights.",
    "With the keyboard, Tab goes to the next block, arrows move the mark (eight pixels with Shift), Page Up and Page Down go to another channel.",
  ];
  let engine = null;

  // The middle of a picture, so large that the network sees whole blocks, and at most MOST_SIDE pixels.
  function middle({ width, height, rgb }, scale) {
    const { multiple } = ABOUT;
    const kept = [width, height].map((side) => {
      const small = multiple * Math.floor(Math.min(MOST_SIDE, Math.round(side * scale)) / multiple);
      return Math.min(side, Math.round(small / scale));
    });
    if (!kept[0] || !kept[1]) {
      throw Error(`Expected at least ${Math.ceil(multiple / scale)} pixels on each side, found ${width} x ${height}.`);
    }
    const [left, top] = [(width - kept[0]) >> 1, (height - kept[1]) >> 1], out = new Uint8Array(3 * kept[0] * kept[1]);
    for (let y = 0; y < kept[1]; y++) {
      const from = 3 * ((top + y) * width + left);
      out.set(rgb.subarray(from, from + 3 * kept[0]), 3 * y * kept[0]);
    }
    return { width: kept[0], height: kept[1], rgb: out };
  }

  // What the network sees of a picture, and what its blocks make of that.
  async function look(read) {
    const { network, blocks } = ABOUT, { scale, stretch } = ABOUT.models[network];
    const cut = middle(read, scale), yellow = inYellow(cut), small = seen(yellow, scale, stretch);
    engine ??= startEngine();
    const { ask, open } = await engine;
    await open(network);
    const found = await ask("blocks", { name: network, small, values: blocks.map((b) => b.value), most: MOST_MAPS });
    const shown = seen(yellow, scale, true); // stretched, so that cells are visible in a dim picture
    return { cut, small, shown, recoloured: yellow !== cut, blocks: blocks.map((block, n) => ({ ...block, ...found.blocks[n] })) };
  }

  // From which to which pixel of a side a unit sees (live/blocks.py: seen_rows).
  function field({ step, sees }, unit, side) {
    const [before, after] = sees[unit % sees.length];
    return [Math.max(0, unit * step + before), Math.min(side - 1, unit * step + after)];
  }

  const widest = ({ sees }) => Math.max(...sees.map(([before, after]) => after - before + 1));

  function paint(canvas, width, height, data) {
    Object.assign(canvas, { width, height }).getContext("2d").putImageData(new ImageData(data, width, height), 0, 0);
    return canvas;
  }

  // A map in grey, from its own lowest value to its highest.
  function grey({ values, low, high }) {
    const data = new Uint8ClampedArray(4 * values.length).fill(255), range = high - low || 1;
    values.forEach((value, p) => data.fill((255 * (value - low)) / range, 4 * p, 4 * p + 3));
    return data;
  }

  // Put a box on what lies in it, in parts of a picture's sides.
  function place(box, [left, right], [top, bottom], width, height) {
    const share = (part, whole) => `${(100 * part) / whole}%`;
    Object.assign(box.style, {
      ...{ left: share(left, width), width: share(right - left + 1, width) },
      ...{ top: share(top, height), height: share(bottom - top + 1, height) },
    });
  }

  function mount(root) {
    const status = make("p", { role: "status", class: "status" });
    const drop = picker(take, "the network runs in this page, and the page sends nothing.");
    const canvas = make("canvas", { role: "img" }), square = make("div", { class: "square" });
    const told = make("p", { class: "told", "aria-live": "polite" }), caption = make("p"), strips = make("div");
    const result = make("div", { class: "result", hidden: true }, caption,
      make("div", { class: "seen" }, make("div", { class: "frame" }, make("div", { class: "area" }, canvas, square)), told),
      make("p", {}, "Point at a map, or tap it: the square in the picture shows what the marked pixel can see, its receptive field."),
      make("details", {}, make("summary", {}, "How to read the maps"), make("ul", {}, ...NOTES.map((note) => make("li", {}, note)))),
      strips);
    root.replaceChildren(drop, status, result);

    let asked = 0, shown = null, marked = null;
    const say = (text) => (status.textContent = text);
    const working = (yes) => root.setAttribute("aria-busy", yes);

    // Look at a file, or at one to come; of several only the last is shown.
    async function take(given) {
      const mine = ++asked;
      root.classList.remove("failed");
      working(true);
      try {
        const file = await given;
        say(`Reading ${file.name} ...`);
        const read = await readPicture(file, () => load("tiff"));
        say(engine ? "The network looks at the picture ..." : "Loading the network ...");
        const began = performance.now(), found = await look(read);
        if (mine !== asked) return;
        show(file.name, read, found);
        say(`${found.blocks.length} blocks, after ${((performance.now() - began) / 1000).toFixed(1)} s.`);
      } catch (error) {
        if (mine !== asked) return;
        say(`It did not work: ${error.message}`);
        root.classList.add("failed");
      }
      working(false);
    }

    function show(name, read, found) {
      shown = found;
      const { small, cut, recoloured, blocks } = found, { scale } = ABOUT.models[ABOUT.network];
      const whole = cut.width > read.width - MOST_SIDE / 8 && cut.height > read.height - MOST_SIDE / 8;
      caption.textContent = [
        `${name}, ${read.width} × ${read.height} pixels, as the network sees it: ${whole ? "" : "its middle, "}${small.width} × ${small.height} pixels`,
        ` (${Math.round(100 * scale)}% of the size)${recoloured ? ", in the colour of the dye that it knows" : ""}. It is brightened here.`,
      ].join("");
      paint(canvas, small.width, small.height, brighten(found.shown));
      canvas.setAttribute("aria-label", `The picture as the network sees it, ${small.width} by ${small.height} pixels`);
      root.style.setProperty("--aspect", small.width / small.height);
      strips.replaceChildren(...blocks.map(strip));
      result.hidden = false;
      const { maps, width, height } = blocks[FIRST_SHOWN];
      mark(blocks[FIRST_SHOWN], maps[0], width >> 1, height >> 1);
    }

    // A block: its name, its sizes, its maps.
    function strip(block) {
      const { title, channels, width, height, step, maps } = block, sees = widest(block);
      const row = make("div", { class: `maps${channels === 1 ? " single" : ""}${width < COARSE ? " coarse" : ""}` }, ...maps.map((map) => mapBox(block, map)));
      const said = `: ${channels} ${channels === 1 ? "channel" : "channels"} of ${width} × ${height}, field ${sees} × ${sees}, step ${step}`;
      return make("div", { class: "block", role: "group", "aria-label": title }, make("p", {}, make("strong", {}, title), said), row);
    }

    function mapBox(block, map) {
      const { title, width, height, maps } = block, first = map === maps[0];
      map.dot = make("div", { class: "dot", hidden: true });
      map.at = [width >> 1, height >> 1];
      const named = block.channels === 1 ? title : `${title}, channel ${map.channel + 1}`;
      const point = (event) => {
        const { left, top, width: w, height: h } = map.box.getBoundingClientRect();
        mark(block, map, Math.floor((width * (event.clientX - left)) / w), Math.floor((height * (event.clientY - top)) / h));
      };
      map.box = make("div", {
        ...{ class: "map", role: "application", tabindex: first ? 0 : -1, "aria-label": `${named}: arrows move the mark` },
        ...{ onpointermove: point, onpointerdown: point, onfocus: () => mark(block, map, ...map.at), onkeydown: (event) => press(event, block, map) },
      }, paint(make("canvas", { "aria-hidden": "true" }), width, height, grey(map)), map.dot);
      return map.box;
    }

    function press(event, block, map) {
      const other = block.maps[block.maps.indexOf(map) + ({ PageUp: -1, PageDown: 1 }[event.key] ?? NaN)];
      if (other) {
        other.at = map.at;
        [map.box.tabIndex, other.box.tabIndex] = [-1, 0];
        other.box.focus();
      } else if (STEPS[event.key]) {
        const far = event.shiftKey ? 8 : 1;
        mark(block, map, ...STEPS[event.key].map((by, axis) => map.at[axis] + far * by));
      } else if (!event.key.startsWith("Page")) return;
      event.preventDefault();
    }

    // Mark a pixel of a map, say its value, and draw on the picture what it sees.
    function mark(block, map, x, y) {
      const { width, height, title, channels } = block, { small } = shown;
      [x, y] = [Math.min(width - 1, Math.max(0, x)), Math.min(height - 1, Math.max(0, y))];
      map.at = [x, y];
      if (marked) marked.dot.hidden = true;
      marked = map;
      map.dot.hidden = false;
      place(map.dot, [x, x], [y, y], width, height);
      const across = field(block, x, small.width), down = field(block, y, small.height);
      place(square, across, down, small.width, small.height);
      const [w, h] = [across, down].map(([from, to]) => to - from + 1);
      told.replaceChildren(make("strong", {}, channels === 1 ? title : `${title}, channel ${map.channel + 1}`),
        `: ${map.values[y * width + x].toFixed(2)} at row ${y + 1}, column ${x + 1}. It sees ${w} × ${h} pixels.`);
    }
  }

  Object.assign(globalThis.cellcount, { look });
  document.querySelectorAll(".cellcount-blocks").forEach(mount);
})();
