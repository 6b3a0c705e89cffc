"use strict";
// Links to the participants before and after this one, in the order of the list that led here (?of=01,02,...),
// and a person's rating of each scan. Without JavaScript the page lacks these two, and nothing else.
const participant = decodeURIComponent(location.pathname.split("/").pop()).replace(/^sub-|\.html$/g, "");
const list = (new URLSearchParams(location.search).get("of") ?? "").split(",").filter(Boolean);
for (const [id, step] of [["previous", -1], ["next", 1]]) {
  const other = list.includes(participant) ? list[list.indexOf(participant) + step] : undefined;
  if (other === undefined) continue;
  const link = document.getElementById(id);
  link.href = `sub-${encodeURIComponent(other)}.html${location.search}`;
  link.textContent = `${link.textContent} sub-${other}`;
  link.hidden = false;
}

const scans = [...document.querySelectorAll(".rating")];
const keyOf = (scan) => `qsmxt-rating ${location.pathname} ${scan.dataset.scan}`;
// a browser may keep nothing for pages on a disk: what is chosen can still be saved as a file
const kept = (scan) => { try { return JSON.parse(localStorage.getItem(keyOf(scan))); } catch { return null; } };
const keep = (scan) => { try { localStorage.setItem(keyOf(scan), JSON.stringify(ratingOf(scan))); } catch {} };
const ratingOf = (scan) => ({
  participant_id: `sub-${participant}`,
  scan: scan.dataset.scan,
  rating: scan.querySelector(":checked")?.value ?? "",
  comment: scan.querySelector("[type=text]").value.replace(/\s+/g, " ").trim(),
});
function save(kind) {
  const rated = scans.map(ratingOf).filter((one) => one.rating);
  const columns = ["participant_id", "scan", "rating", "comment"];
  const rows = [columns, ...rated.map((one) => columns.map((name) => one[name] || "n/a"))];
  const text = kind === "json" ? JSON.stringify(rated, null, 2) : rows.map((row) => row.join("\t")).join("\n");
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${text}\n`], {type: "text/plain"}));
  link.download = `sub-${participant}_ratings.${kind}`;
  link.click();
  URL.revokeObjectURL(link.href);
}
for (const scan of scans) {
  const before = kept(scan);
  if (before?.rating) scan.querySelector(`[value=${CSS.escape(before.rating)}]`)?.click();
  if (before?.comment) scan.querySelector("[type=text]").value = before.comment;
  scan.addEventListener("input", () => keep(scan));
  for (const button of scan.querySelectorAll("button")) {
    button.addEventListener("click", () => save(button.dataset.kind));
  }
  scan.hidden = false;
}
