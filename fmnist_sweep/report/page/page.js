// What the libraries do not do by themselves: start them on what the page holds.
import DataTable from "datatables";

const data = JSON.parse(document.getElementById("page-data").textContent);
const options = {
  paging: false,
  order: [],
  autoWidth: false,
  language: data.table,
  layout: { topStart: "search", topEnd: "info", bottomStart: null, bottomEnd: null },
};
const claims = new DataTable("#claims-table", options);
new DataTable("#runs-table", options);
document.getElementById("verdict-filter").addEventListener("change", (event) => {
  claims.column(".verdict").search(event.target.value, { exact: event.target.value !== "" }).draw();
});
document.getElementById("sheet")?.addEventListener("change", (event) => {
  for (const sheet of document.querySelectorAll(".sheet")) sheet.hidden = sheet.id !== event.target.value;
});
for (const [id, plot] of Object.entries(data.plots)) Plotly.newPlot(id, plot.data, plot.layout, data.config);
