// Tables that sort, fold and filter, and figures that enlarge. Without scripts a page shows all of it as is.

const SHOWN = 6; // columns of a table before the rest is folded away
const LONG = 10; // rows of a table before one may filter them
const PLANS = ["time", "minutes"]; // a table that begins with this is a timetable, and in order

// The number that a cell begins with: "0.69 ± 0.02" is 0.69, "-19.1" is -19.1, "missing" is none.
function numberOf(text) {
  const found = text.trim().replace(/^[−–](?=\d)/, "-").match(/^[+-]?[\d,]*\.?\d+/);
  return found ? parseFloat(found[0].replaceAll(",", "")) : NaN;
}

// Rows of the body in the order of a column; cells without a value come last, either way.
function sorted(rows, column, descending) {
  const texts = rows.map((row) => row.cells[column]?.innerText.trim() ?? "");
  const numbers = texts.map(numberOf);
  const numeric = numbers.some((number) => !isNaN(number));
  const empty = (i) => (numeric ? isNaN(numbers[i]) : texts[i] === "");
  const compare = (i, j) => {
    if (empty(i) || empty(j)) return empty(i) - empty(j);
    const less = numeric ? numbers[i] - numbers[j] : texts[i].localeCompare(texts[j]);
    return descending ? -less : less;
  };
  return [...rows.keys()].sort(compare).map((i) => rows[i]);
}

function makeSortable(table) {
  const head = table.tHead?.rows[table.tHead.rows.length - 1];
  const body = table.tBodies[0];
  const spans = [...table.querySelectorAll("td, th")].some((c) => c.colSpan > 1 || c.rowSpan > 1);
  if (!head || !body || body.rows.length < 3 || spans) return;
  if (PLANS.includes(head.cells[0].innerText.trim())) return;
  [...head.cells].forEach((cell, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "cellcount-sort";
    button.title = "Sort by this column";
    if (cell.innerText.trim()) button.append(...cell.childNodes);
    else button.setAttribute("aria-label", "Sort by the first column");
    cell.append(button);
    button.addEventListener("click", () => {
      const descending = cell.getAttribute("aria-sort") === "ascending";
      for (const other of head.cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
      body.append(...sorted([...body.rows], column, descending));
    });
  });
}

function makeFolding(table) {
  const width = Math.max(...[...table.rows].map((row) => row.cells.length), 0);
  if (width <= SHOWN) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "cellcount-fold";
  const set = (open) => {
    table.classList.toggle("cellcount-folded", !open);
    button.setAttribute("aria-expanded", String(open));
    button.textContent = open ? `Show ${SHOWN} columns` : `Show all ${width} columns`;
  };
  button.addEventListener("click", () => set(button.getAttribute("aria-expanded") !== "true"));
  set(false);
  table.before(button);
}

function makeFilter(table) {
  const rows = [...(table.tBodies[0]?.rows ?? [])];
  if (rows.length <= LONG) return;
  const field = document.createElement("input");
  field.type = "search";
  field.className = "cellcount-filter";
  field.placeholder = "rows that say …";
  field.setAttribute("aria-label", "Show only rows with this text");
  field.addEventListener("input", () => {
    const wanted = field.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
  table.before(field);
}

function makeEnlarging(figures) {
  if (!figures.length) return;
  const dialog = document.createElement("dialog");
  dialog.className = "cellcount-figure";
  dialog.setAttribute("aria-label", "Figure, enlarged. Click or press Escape to close.");
  const large = document.createElement("img");
  dialog.append(large);
  dialog.addEventListener("click", () => dialog.close());
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && dialog.open) dialog.close();
  });
  document.body.append(dialog);
  for (const image of figures) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "cellcount-enlarge";
    button.setAttribute("aria-label", "Enlarge the figure");
    image.before(button);
    button.append(image);
    button.addEventListener("click", () => {
      large.src = image.src;
      large.alt = image.alt;
      dialog.showModal();
    });
  }
}

document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("article table")) {
    if (table.closest("details, .cellcount-quiz, .highlight")) continue;
    makeFilter(table);
    makeFolding(table);
    makeSortable(table);
  }
  makeEnlarging(document.querySelectorAll("article figure img"));
});
