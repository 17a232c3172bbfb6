// What the libraries do not do by themselves: unpack them, and start them on what the page holds.
async function unpacked(name) {
  const bytes = Uint8Array.from(atob(document.getElementById(`packed-${name}`).textContent), (c) => c.charCodeAt(0));
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

const data = JSON.parse(await unpacked("data"));

const source = new Blob([await unpacked("datatables")], { type: "text/javascript" });
const { default: DataTable } = await import(URL.createObjectURL(source));
const options = {
  paging: false,
  order: [],
  autoWidth: false,
  language: data.table,
  layout: { topStart: "search", topEnd: "info", bottomStart: null, bottomEnd: null },
};
for (const element of document.querySelectorAll("table.sortable")) {
  const filter = element.closest("section").querySelector(".filter");
  const table = new DataTable(element, options);
  filter?.addEventListener("change", (event) => {
    table.column(".verdict").search(event.target.value, { exact: event.target.value !== "" }).draw();
  });
}

document.getElementById("sheet")?.addEventListener("change", (event) => {
  for (const sheet of document.querySelectorAll(".sheet")) sheet.hidden = sheet.id !== event.target.value;
});

if (document.getElementById("packed-plotly")) {
  const script = document.createElement("script");
  // The policy runs what carries the nonce, so this page's script vouches for the library that the page holds.
  script.nonce = document.querySelector("script[nonce]").nonce;
  script.textContent = await unpacked("plotly");
  document.head.append(script);
  for (const [id, plot] of Object.entries(data.plots)) Plotly.newPlot(id, plot.data, plot.layout, data.config);
}
for (const metric of document.querySelectorAll("select[data-plot]")) {
  const views = data.views[metric.dataset.plot];
  const show = () => {
    const { y, title } = views[metric.value];
    const extremes = y.map((line, i) => (i % 2 ? line.map((_, at) => [y[i - 1].at(-1 - at), y[i - 1][at]]) : null));
    const axis = { "yaxis.title.text": title, "yaxis.autorange": true };
    Plotly.update(metric.dataset.plot, { y, customdata: extremes }, axis);
  };
  metric.addEventListener("change", show);
  show();
}
for (const chosen of document.querySelectorAll("fieldset[data-plot]")) {
  chosen.addEventListener("change", ({ target }) => {
    const line = 2 * Number(target.value); // each configuration has a band and a line
    Plotly.restyle(chosen.dataset.plot, { visible: target.checked }, [line, line + 1]);
  });
}
