"use strict";
// Rows that contain some words, and links that tell a page which participants stand before and after it.
const rows = [...document.querySelectorAll("tbody tr")];
const search = document.getElementById("search");
const shown = document.getElementById("shown");
const filter = () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of rows) row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word));
  const count = rows.filter((row) => !row.hidden).length;
  shown.textContent = count === rows.length ? "" : `${count} of ${rows.length}`;
};
search.addEventListener("input", filter);
search.parentElement.hidden = false;
for (const link of document.querySelectorAll("tbody th a")) {
  link.addEventListener("click", () => {
    const visible = [...document.querySelectorAll("tbody tr:not([hidden]) th a")];
    const names = visible.map((one) => one.textContent.replace(/^sub-/, "")).join(",");
    link.href = `${link.getAttribute("href").split("?")[0]}?of=${encodeURIComponent(names)}`;
  });
}
