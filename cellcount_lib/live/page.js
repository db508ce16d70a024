// The page: takes a picture, asks the worker of engine.js, and shows what it answers.
//
// Every element with the class `cellcount-count` becomes such a page.
"use strict";
(() => {
  const { readPicture, range, LEAST_RANGE, ABOUT } = globalThis.cellcount;
  const { make, load, startEngine, brighten, picker } = globalThis.cellcount;
  const OUTLINE = [86, 180, 233]; // plots.py: FOUND
  const [AUTO, OTSU] = ["auto", "otsu-watershed"];
  let engine = null;

  // ---- what is drawn ----------------------------------------------------------------------------

  // Picture, outlines and numbers of the cells (prediction/outputs.py: overlay).
  function drawOverlay(canvas, { width, height, seen }, labels, objects, outlined) {
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d"), data = seen.slice(), image = new ImageData(data, width, height);
    const line = Math.ceil(Math.max(width, height) / 600), edges = new Map();
    for (let y = 0, p = 0; outlined && y < height; y++) {
      for (let x = 0; x < width; x++, p++) {
        const label = labels[p];
        if (!label) continue;
        const inner = (x === 0 || labels[p - 1] === label) && (x + 1 === width || labels[p + 1] === label) &&
          (y === 0 || labels[p - width] === label) && (y + 1 === height || labels[p + width] === label);
        if (inner) continue;
        const corner = edges.get(label) ?? { right: x, top: y };
        edges.set(label, { right: Math.max(x, corner.right), top: corner.top });
        for (let down = 0; down < line; down++) {
          for (let right = 0; right < line && x + right < width && y + down < height; right++) {
            const at = 4 * ((y + down) * width + x + right);
            [data[at], data[at + 1], data[at + 2]] = OUTLINE;
          }
        }
      }
    }
    context.putImageData(image, 0, 0);
    Object.assign(context, { font: `${7 + 4 * line}px sans-serif`, lineWidth: 3, strokeStyle: "black", fillStyle: "white", lineJoin: "round" });
    for (const [label, { right, top }] of edges) {
      context.strokeText(label, right + line, top + 4 * line);
      context.fillText(label, right + line, top + 4 * line);
    }
    canvas.setAttribute("aria-label", `The picture with the outlines of ${objects.length} cells`);
  }

  const widthOf = ({ area_px }) => 2 * Math.sqrt(area_px / Math.PI);
  const middle = (sorted) => (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2;

  function histogram(objects) {
    const widths = objects.map(widthOf).sort((a, b) => a - b), [from, to] = [Math.floor(widths[0]), Math.ceil(widths.at(-1))];
    const step = Math.max(1, Math.ceil((to - from) / 16)), bars = new Array(Math.max(1, Math.ceil((to - from) / step))).fill(0);
    for (const width of widths) bars[Math.min(bars.length - 1, Math.floor((width - from) / step))]++;
    const most = Math.max(...bars), [W, H, foot] = [320, 120, 22], each = W / bars.length;
    const said = `Widths of ${widths.length} cells, from ${widths[0].toFixed(0)} to ${widths.at(-1).toFixed(0)} pixels, median ${middle(widths).toFixed(0)}`;
    const svg = make("svg", { viewBox: `0 0 ${W} ${H + foot}`, role: "img", "aria-label": said, class: "histogram" });
    bars.forEach((n, i) => svg.append(make("rect", { x: i * each + 1, width: Math.max(1, each - 2), y: H - (H * n) / most, height: (H * n) / most })));
    svg.append(make("line", { x1: 0, x2: W, y1: H, y2: H }));
    svg.append(make("text", { x: 0, y: H + 16 }, `${from} px`), make("text", { x: W, y: H + 16, "text-anchor": "end" }, `${from + step * bars.length} px`));
    return make("figure", {}, svg, make("figcaption", {}, `${said}.`));
  }

  // How many cells there are at each cutoff; a line marks the chosen one.
  const CUTOFFS = Array.from({ length: 19 }, (_, n) => (n + 1) / 20);
  function curve(counts, cutoff, n) {
    const [W, H, head, foot] = [320, 120, 20, 22], most = Math.max(1, ...counts), across = (c) => (c * W).toFixed(1);
    const points = CUTOFFS.map((c, i) => `${across(c)},${(H - (H * counts[i]) / most).toFixed(1)}`).join(" ");
    const said = `Cells found at cutoffs from ${CUTOFFS[0]} to ${CUTOFFS.at(-1)}: ${counts[0]} at the lowest, ${counts.at(-1)} at the highest, ` +
      `${Math.max(...counts)} at most; ${n} at ${cutoff.toFixed(2)}`;
    const svg = make("svg", { viewBox: `0 ${-head} ${W} ${head + H + foot}`, role: "img", "aria-label": said, class: "histogram" },
      make("polyline", { points }), make("line", { x1: 0, x2: W, y1: H, y2: H }),
      make("line", { x1: across(cutoff), x2: across(cutoff), y1: 0, y2: H, class: "chosen" }),
      make("text", { x: 0, y: H + 16 }, "cutoff 0"), make("text", { x: W, y: H + 16, "text-anchor": "end" }, "1"),
      make("text", { x: 0, y: -6 }, `${most} cells`));
    return make("figure", {}, svg, make("figcaption", {}, `${said}.`));
  }

  // Why the count should be looked at (prediction/checks.py: reasons).
  function reasons(picture, objects, cellPx, cutoff) {
    const found = [], sure = objects.reduce((sum, o) => sum + o.confidence, 0) / objects.length;
    if (!objects.length) found.push("no cells");
    else if (objects[0].confidence !== null && sure < cutoff + ABOUT.sure * (1 - cutoff)) found.push(`confidence ${sure.toFixed(2)}`);
    if (objects.length && cellPx !== null) {
      const width = widthOf({ area_px: middle(objects.map((o) => o.area_px).sort((a, b) => a - b)) });
      const [least, most] = ABOUT.as_expected;
      if (width / cellPx < least || width / cellPx > most) found.push(`cells ${width.toFixed(0)} px wide, expected ${cellPx.toFixed(0)}`);
    }
    const { low, high } = range(picture);
    if (high - low < LEAST_RANGE) found.push("flat picture");
    else if (picture.saturated > ABOUT.saturated) found.push("saturated picture");
    return found;
  }

  // The smallest and the largest count that an error allows (prediction/intervals.py: interval).
  function interval(n, allowed) {
    const reach = allowed * Math.sqrt(n + 1), round = (value) => Number(value.toFixed(9));
    return [Math.max(0, Math.ceil(round(n - reach))), Math.floor(round(n + reach))];
  }

  // What is known of the error of a count, at the cutoff of the network.
  function reliability(info, n, cutoff) {
    if (!info || Math.abs(cutoff - info.threshold) > 0.0051) return []; // the slider has steps of 0.01
    if (!info.count_error) return ["no interval: how far this network is off on real pictures has not been measured"];
    const { allowed, level, number, pictures } = info.count_error, [low, high] = interval(n, allowed);
    return [`${low} to ${high} cells are there, if your picture is like the ${number} ${pictures} that this was measured on: true of ${10 * level} in 10 of them`];
  }

  const COLUMNS = ["object", "x", "y", "area_px", "mean_intensity", "confidence"];
  function csv(objects) {
    const cell = (value) => (value === null ? "" : String(+value.toFixed(4)));
    return [COLUMNS.join(), ...objects.map((o) => COLUMNS.map((name) => cell(o[name])).join())].join("\n") + "\n";
  }

  function save(name, blob) {
    const link = make("a", { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }

  // ---- the page ---------------------------------------------------------------------------------

  function mount(root) {
    const status = make("p", { role: "status", class: "status" });
    const drop = picker(take, "the picture is read and counted in this page, and the page sends nothing.");

    const names = { [AUTO]: "auto", ...Object.fromEntries(Object.keys(ABOUT.models).map((name) => [name, name])), [OTSU]: "Otsu + watershed, no network" };
    const model = make("select", { onchange: chooseModel }, ...Object.entries(names).map(([value, text]) => make("option", { value }, text)));
    const estimate = make("input", { type: "checkbox", checked: true, onchange: update });
    const size = make("input", { type: "number", min: 3, max: 500, step: 1, disabled: true, oninput: update });
    const cutoff = make("input", { type: "range", min: 0.05, max: 0.95, step: 0.01, oninput: update });
    const cutoffSaid = make("output");
    const outlined = make("input", { type: "checkbox", checked: true, onchange: draw });
    const controls = make("div", { class: "controls" },
      make("label", {}, "Model ", model),
      make("label", {}, estimate, " estimate the size of cells"),
      make("label", {}, "Width of a cell (pixels) ", size),
      make("label", {}, "Cutoff ", cutoff, " ", cutoffSaid));

    const count = make("p", { class: "count" }), told = make("ul"), canvas = make("canvas", { role: "img" }), sizes = make("div");
    const sweep = make("button", { type: "button", onclick: () => (swept ??= []) && update() }, "Show the count at every cutoff");
    const result = make("div", { class: "result", hidden: true }, controls, count, told,
      make("label", {}, outlined, " show outlines and numbers"), make("div", { class: "picture" }, canvas), sizes,
      make("div", { class: "buttons" }, sweep,
        make("button", { type: "button", onclick: () => save(`${shown.stem}-objects.csv`, new Blob([csv(shown.objects)], { type: "text/csv" })) }, "Save the cells (CSV)"),
        make("button", { type: "button", onclick: () => canvas.toBlob((blob) => save(`${shown.stem}-overlay.png`, blob)) }, "Save the overlay (PNG)")));
    root.replaceChildren(drop, status, result);

    let picture = null, shown = null, busy = false, again = false;
    let swept = null, sweptOf = null; // counts at CUTOFFS, once asked for, and of what
    const say = (text) => (status.textContent = text);
    const working = (yes) => root.setAttribute("aria-busy", yes);
    const failed = (error) => (say(`It did not work: ${error.message}`), root.classList.add("failed"), working(false));

    // Count a file, or one to come; `drawn` is how many cells a simulated picture has.
    async function take(given, drawn = null) {
      const began = performance.now();
      root.classList.remove("failed");
      working(true);
      try {
        const file = await given;
        say(`Reading ${file.name} ...`);
        const read = await readPicture(file, () => load("tiff"));
        if (!engine) say("Loading the network ...");
        engine ??= startEngine();
        const { ask } = await engine, first = await ask("look", { given: read });
        picture = { ...read, ...first, seen: brighten(read), name: file.name, stem: file.name.replace(/\.[^.]*$/, ""), drawn, began };
        chooseModel();
      } catch (error) {
        failed(error);
      }
    }

    const chosen = () => (model.value !== AUTO ? model.value : picture.suits);

    function chooseModel() {
      const info = ABOUT.models[chosen()];
      cutoff.disabled = !info;
      if (info) cutoff.value = info.threshold;
      return update();
    }

    // Count again with what is chosen now; while that goes on, only the last choice is remembered.
    async function update() {
      again = true;
      size.disabled = estimate.checked;
      cutoffSaid.textContent = cutoff.disabled ? "none" : Number(cutoff.value).toFixed(2);
      if (!picture) return;
      working(true);
      if (busy) return;
      busy = true;
      try {
        while (again) {
          again = false;
          await find();
        }
        working(false);
      } catch (error) {
        failed(error);
      }
      busy = false;
    }

    async function find() {
      const of = picture, name = chosen(), info = ABOUT.models[name], { ask, open } = await engine;
      if (info) await open(name);
      const cut = Number(cutoff.value), said = estimate.checked || !(size.valueAsNumber >= 3) ? null : size.valueAsNumber;
      const tell = (share) => say(`The network looks at the picture: ${Math.round(100 * share)}%`);
      const answer = await ask("count", { name: info ? name : null, rules: (info ?? ABOUT).rules, said, cutoff: cut }, tell);
      if (of !== picture) return;
      if (estimate.checked && answer.cellPx !== null) size.value = Math.round(answer.cellPx);
      shown = { ...of, ...answer };
      const { objects, cellPx, from } = answer, n = objects.length, seconds = (performance.now() - of.began) / 1000;
      result.hidden = false;
      count.replaceChildren(make("strong", {}, n), n === 1 ? " cell" : " cells", of.drawn === null ? "" : ` (the simulator drew ${of.drawn})`);
      const lines = [`${of.name}: ${of.width} x ${of.height} pixels`, `counted by ${names[name]}`, `width of a cell: ${cellPx === null ? "" : `${cellPx.toFixed(0)} px, `}${from}`];
      if (of.pages > 1) lines.push(`page 1 of ${of.pages}; the others are not counted`);
      lines.push(...reliability(info, n, cut));
      const look = reasons(of, objects, cellPx, cut);
      if (look.length) lines.push(`look at this one: ${look.join("; ")}`);
      told.replaceChildren(...lines.map((line) => make("li", {}, line)));
      const figures = n ? [histogram(objects)] : [];
      sweep.hidden = !info;
      draw();
      if (info && swept) {
        if (sweptOf?.of !== of || sweptOf.name !== name || sweptOf.said !== said) {
          const counting = (share) => say(`Counting at every cutoff: ${Math.round(100 * share)}%`);
          swept = (await ask("sweep", { name, rules: info.rules, said, cutoffs: CUTOFFS }, counting)).counts;
          if (of !== picture) return;
          sweptOf = { of, name, said };
        }
        figures.push(curve(swept, cut, n));
      }
      sizes.replaceChildren(...figures);
      say(of.began ? `${n} cells, after ${seconds.toFixed(1)} s.` : `${n} cells.`);
      of.began = 0;
    }

    function draw() {
      if (shown) drawOverlay(canvas, shown, shown.labels, shown.objects, outlined.checked);
    }
  }

  Object.assign(globalThis.cellcount, { interval });
  document.querySelectorAll(".cellcount-count").forEach(mount);
})();
