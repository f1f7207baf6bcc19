// What is wrong with the page as it is laid out now, a line each; the test wants none.
const wrong = [];
const root = document.documentElement;
if (root.scrollWidth > root.clientWidth)
  wrong.push(`the page is ${root.scrollWidth} wide in a window of ${root.clientWidth}`);
const name = (element) => `"${element.textContent.trim().slice(0, 40)}" of ${element.closest('section')?.id ?? 'the top'}`;
const isShown = (element) => element.checkVisibility() && element.getBoundingClientRect().width > 1;
// Everything with text of its own stays in the window, and within what holds it.
for (const element of document.querySelectorAll('h1, h2, h3, p, li, th, td, summary, code, figcaption, .place')) {
  if (!isShown(element)) continue;
  const box = element.getBoundingClientRect();
  if (box.left < -0.5 || box.right > root.clientWidth + 0.5) wrong.push(`outside of the window: ${name(element)}`);
  if (element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== 'inline')
    wrong.push(`wider than its box: ${name(element)}`);
}
// No text of a chart touches another, or leaves the chart, or is too small to read.
let charts = 0;
for (const chart of document.querySelectorAll('svg.chart')) {
  if (!isShown(chart)) continue;
  charts += 1;
  const frame = chart.getBoundingClientRect();
  const texts = [...chart.querySelectorAll('text')].filter((text) => text.textContent.trim());
  const boxes = texts.map((text) => text.getBoundingClientRect());
  boxes.forEach((box, at) => {
    if (box.left < frame.left - 1 || box.right > frame.right + 1 || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
      wrong.push(`outside of its chart: ${name(texts[at])}`);
    if (box.height < 11) wrong.push(`${box.height} pixels high: ${name(texts[at])}`);
    for (let other = at + 1; other < boxes.length; other += 1) {
      const [a, b] = [box, boxes[other]];
      const wide = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const high = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      // The box of a line of text has room above and below the letters.
      if (wide > 0.5 && high > 3) wrong.push(`overlap: ${name(texts[at])} and ${name(texts[other])}`);
    }
  });
}
if (charts === 0) wrong.push('no chart is shown');
return wrong;
