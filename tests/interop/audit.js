// What keeps people from using a page: names, contrast, headings, tables, targets. An expression; its value is a list of complaints.
(() => {
  const complaints = [];
  const shown = (node) => node.checkVisibility({ opacityProperty: false, visibilityProperty: true }) && node.getClientRects().length > 0;
  const brief = (node) => `<${node.localName} ${node.id || node.className?.baseVal || node.className || ""}> ${(node.textContent ?? "").trim().slice(0, 40)}`;
  const named = (node) => {
    const by = (node.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ");
    const labels = [...(node.labels ?? [])].map((label) => label.textContent).join(" ");
    const own = ["INPUT", "SELECT", "TEXTAREA"].includes(node.nodeName) ? "" : node.textContent;
    return [node.getAttribute("aria-label"), by, labels, own, node.getAttribute("title")].some((text) => text?.trim());
  };

  for (const node of document.querySelectorAll("button, a[href], input, select, textarea, summary, [role=img], [role=meter], [role=region], dialog[open]")) {
    if (!shown(node)) continue;
    if (!named(node)) complaints.push(`no name: ${brief(node)}`);
    const box = node.getBoundingClientRect();
    if (["BUTTON", "SELECT", "TEXTAREA"].includes(node.nodeName) && !node.classList.contains("sort") && (box.width < 24 || box.height < 24)) complaints.push(`too small: ${brief(node)}`);
  }
  for (const image of document.querySelectorAll("img")) if (!image.hasAttribute("alt")) complaints.push(`no alternative: ${brief(image)}`);
  for (const node of document.querySelectorAll("[tabindex]")) if (node.tabIndex > 0) complaints.push(`order of its own: ${brief(node)}`);

  const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
  for (const id of new Set(ids.filter((id, index) => ids.indexOf(id) !== index))) complaints.push(`twice: #${id}`);
  for (const node of document.querySelectorAll("[aria-labelledby], [aria-describedby], [aria-controls]"))
    for (const name of ["aria-labelledby", "aria-describedby", "aria-controls"])
      for (const id of (node.getAttribute(name) ?? "").split(" ").filter(Boolean)) if (!document.getElementById(id)) complaints.push(`${name} leads nowhere: ${brief(node)}`);

  const headings = [...document.querySelectorAll("h1, h2, h3, h4")].filter(shown).filter((node) => !node.closest("dialog"));
  if (headings.filter((node) => node.localName === "h1").length !== 1) complaints.push("not one h1");
  headings.forEach((node, index) => {
    const [level, before] = [Number(node.localName[1]), index ? Number(headings[index - 1].localName[1]) : 0];
    if (level > before + 1) complaints.push(`heading skips a level: ${brief(node)}`);
  });
  for (const table of document.querySelectorAll("table")) {
    if (!table.caption?.textContent.trim()) complaints.push(`no caption: ${brief(table)}`);
    if ([...table.querySelectorAll("thead th")].some((cell) => cell.scope !== "col" || !cell.textContent.trim())) complaints.push(`a heading without scope or words: ${brief(table)}`);
  }
  for (const chart of document.querySelectorAll("svg[role=img]")) if (!chart.querySelector("title") || !chart.querySelector("desc")) complaints.push(`a drawing without words: ${brief(chart)}`);
  if (!document.documentElement.lang || document.querySelectorAll("main").length !== 1) complaints.push("no language, or not one main");

  const pen = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const known = new Map();
  const rgba = (colour) => {
    if (!known.has(colour)) known.set(colour, drawn(colour));
    return known.get(colour);
  };
  const drawn = (colour) => {
    pen.clearRect(0, 0, 1, 1);
    pen.fillStyle = colour;
    pen.fillRect(0, 0, 1, 1);
    return [...pen.getImageData(0, 0, 1, 1).data];
  };
  const ground = (node) => {
    for (let one = node; one; one = one.parentElement) {
      const colour = rgba(getComputedStyle(one).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const light = ([red, green, blue]) => {
    const [r, g, b] = [red, green, blue].map((part) => (part / 255 <= 0.03928 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  const seen = new Map();
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || seen.has(node) || !shown(node) || node.closest(".unseen, .skip, title, desc, option, :disabled")) continue;
    const style = getComputedStyle(node);
    const ink = node instanceof SVGElement ? style.fill : style.color;
    const [one, other] = [light(rgba(ink)), light(ground(node))];
    const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    const size = Number.parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    seen.set(node, ratio);
    if (ratio < (large ? 3 : 4.5)) complaints.push(`contrast ${ratio.toFixed(2)}: ${brief(node)}`);
  }
  if (seen.size < 5) complaints.push("hardly any text");
  if (document.documentElement.scrollWidth > innerWidth) complaints.push(`wider than the window: ${document.documentElement.scrollWidth} > ${innerWidth}`);
  return complaints;
})();
