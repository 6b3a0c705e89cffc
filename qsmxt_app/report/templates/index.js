"use strict";
// Rows that contain some words or have a verdict, group or rating, and links that tell a page which participants
// stand before and after it.
const rows = [...document.querySelectorAll("tbody tr")];
const search = document.getElementById("search");
const selects = [...document.querySelectorAll(".search select")];
const shown = document.getElementById("shown");
const ratings = ["good", "doubtful", "bad"];

// what a person chose on the pages of participants stands in the browser until it is saved as a file
function keptRating(row) {
  const page = row.querySelector("a")?.pathname;
  if (!page) return "";
  try {
    const keys = Object.keys(localStorage).filter((key) => key.startsWith(`qsmxt-rating ${page} `));
    const found = keys.map((key) => ratings.indexOf(JSON.parse(localStorage.getItem(key)).rating));
    return ratings[Math.max(-1, ...found)] ?? "";
  } catch { return ""; }
}
for (const row of rows) {
  row.dataset.rating ||= keptRating(row);
  if (row.dataset.rating) row.querySelector(".rated").textContent = `rated ${row.dataset.rating}`;
}

const filter = () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of rows) {
    const chosen = selects.every((one) => !one.value || row.dataset[one.dataset.key] === one.value);
    row.hidden = !chosen || !words.every((word) => row.textContent.toLowerCase().includes(word));
  }
  const count = rows.filter((row) => !row.hidden).length;
  shown.textContent = count === rows.length ? "" : `${count} of ${rows.length}`;
};
for (const select of selects) {
  const values = new Set(rows.map((row) => row.dataset[select.dataset.key]));
  // a choice is one only where there are two
  select.parentElement.hidden = values.size < 2;
  for (const value of [...values].filter(Boolean).sort()) select.add(new Option(value, value));
  select.addEventListener("input", filter);
}
search.addEventListener("input", filter);
search.closest(".search").hidden = false;
for (const link of document.querySelectorAll("tbody th a")) {
  link.addEventListener("click", () => {
    const visible = [...document.querySelectorAll("tbody tr:not([hidden]) th a")];
    const names = visible.map((one) => one.textContent.replace(/^sub-/, "")).join(",");
    link.href = `${link.getAttribute("href").split("?")[0]}?of=${encodeURIComponent(names)}`;
  });
}
