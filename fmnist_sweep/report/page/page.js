// Fold open what a link points into, and go there.
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let fold = target?.closest("details"); fold; fold = fold.parentElement.closest("details")) fold.open = true;
  target?.scrollIntoView();
}
addEventListener("hashchange", reveal);
reveal();

// Choosing a verdict opens each figure's statements that have it; no verdict folds them again.
document.getElementById("verdicts")?.addEventListener("change", ({ target: { value } }) => {
  for (const fold of document.querySelectorAll("details.statements")) {
    const rows = [...fold.querySelectorAll("tr[data-verdict]")];
    for (const row of rows) row.hidden = value !== "" && row.dataset.verdict !== value;
    fold.open = value !== "";
    fold.closest("article").hidden = rows.every((row) => row.hidden);
  }
});

for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.addEventListener("click", ({ target }) => {
    const heading = target.closest("th");
    const sign = heading.ariaSort === "ascending" ? -1 : 1;
    const cell = (row) => row.cells[heading.cellIndex];
    const order = (row) => cell(row).dataset.order ?? cell(row).textContent;
    const compare = (a, b) => (a === "") - (b === "") || sign * (a - b || a.localeCompare(b)); // nothing sorts last
    for (const other of heading.parentElement.cells) other.ariaSort = null;
    heading.ariaSort = sign > 0 ? "ascending" : "descending";
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => compare(order(a), order(b))));
  });
}
for (const search of document.querySelectorAll("input[type=search]")) {
  search.addEventListener("input", () => {
    const words = search.value.toLowerCase();
    for (const row of document.getElementById(search.dataset.table).tBodies[0].rows) {
      row.hidden = !row.textContent.toLowerCase().includes(words);
    }
  });
}

document.getElementById("sheet")?.addEventListener("change", (event) => {
  for (const sheet of document.querySelectorAll(".sheet")) sheet.hidden = sheet.id !== event.target.value;
});

async function unpacked(name) {
  const bytes = Uint8Array.from(atob(document.getElementById(`packed-${name}`).textContent), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

if (document.getElementById("packed-plotly")) {
  const { plots, config } = JSON.parse(await unpacked("data"));
  const script = document.createElement("script");
  // The policy runs what carries the nonce, so this page's script vouches for the library that the page holds.
  script.nonce = document.querySelector("script[nonce]").nonce;
  script.textContent = await unpacked("plotly");
  document.head.append(script);
  for (const [id, plot] of Object.entries(plots)) Plotly.newPlot(id, plot.data, plot.layout, config);

  const metric = document.getElementById("metric");
  const show = () => {
    const { y, title } = plots["curves-plot"].views[metric.value];
    const extremes = y.map((line, i) => (i % 2 ? line.map((_, at) => [y[i - 1].at(-1 - at), y[i - 1][at]]) : null));
    const axis = { "yaxis.title.text": title, "yaxis.autorange": true };
    Plotly.update("curves-plot", { y, customdata: extremes }, axis);
  };
  metric?.addEventListener("change", show);
  if (metric) show();
  document.getElementById("configurations")?.addEventListener("change", ({ target }) => {
    const line = 2 * Number(target.value); // each configuration has a band and a line
    Plotly.restyle("curves-plot", { visible: target.checked }, [line, line + 1]);
  });
}
