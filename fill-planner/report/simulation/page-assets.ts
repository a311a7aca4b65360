/** What a report looks like and the little that it does: no part of it comes from elsewhere. */
export const STYLE = `
:root { color-scheme: light; --ink: #1c2733; --soft: #5c6b7a; --line: #d9dfe5; --warn: #8a4b00; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1080px; padding: 24px 32px 64px; color: var(--ink); background: #fff;
  font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 17px; margin: 0 0 2px; }
.kind { margin: 0; color: var(--soft); font-size: 13px; letter-spacing: .04em; text-transform: uppercase; }
.question { font-size: 17px; margin: 6px 0 0; } .facts { color: var(--soft); margin: 6px 0 18px; }
.warning { border-left: 4px solid #e69f00; background: #fff7e6; color: var(--warn); padding: 8px 12px; margin: 8px 0; }
.tiles { display: grid; grid-template-columns: repeat(4, 1fr); gap: 10px; margin: 18px 0 26px; }
.tiles div { border: 1px solid var(--line); border-radius: 6px; padding: 10px 12px; display: flex; flex-direction: column; }
.tiles b { font-size: 21px; font-variant-numeric: tabular-nums; }
.tiles i { font-style: normal; font-size: 12px; color: var(--soft); min-height: 17px; font-variant-numeric: tabular-nums; }
.tiles span { font-size: 13px; color: var(--soft); }
figure, section.table, section { margin: 0 0 28px; } figure svg { max-width: 100%; height: auto; display: block; }
.left-out { color: var(--soft); font-size: 13.5px; } .left-out h2 { font-size: 14px; } ul { margin: 4px 0; padding-left: 22px; }
.reading { color: var(--soft); margin: 0 0 8px; font-size: 13.5px; }
.scroll { overflow: auto; max-height: 460px; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; font-size: 13.5px; font-variant-numeric: tabular-nums; }
th { position: sticky; top: 0; background: #f4f6f8; text-align: left; font-weight: 600; }
th, td { padding: 4px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
td.n, td:first-child { white-space: nowrap; } .n { text-align: right; }
button.copy { font: inherit; font-size: 12.5px; padding: 1px 9px; border: 1px solid var(--line); border-radius: 4px;
  background: #fff; cursor: pointer; } button.copy:hover { background: #f4f6f8; }
details { margin: 20px 0; } summary { cursor: pointer; font-weight: 600; } pre { background: #f4f6f8; padding: 12px; overflow: auto; font-size: 12.5px; }
@media (max-width: 760px) { body { padding: 16px; } .tiles { grid-template-columns: repeat(2, 1fr); } }
@media print { body { max-width: none; padding: 0; font-size: 11px; } .scroll { max-height: none; overflow: visible; }
  button.copy { display: none; } figure, .tiles div { break-inside: avoid; } }
`;

/** Tables are copied as tab-separated text, which a sheet takes apart by itself. */
export const SCRIPT = `
for (const button of document.querySelectorAll('button.copy')) button.addEventListener('click', async () => {
  const source = document.getElementById(button.dataset.copies);
  const text = source.rows
    ? [...source.rows].map((row) => [...row.cells].map((cell) => cell.textContent).join('\\t')).join('\\n')
    : source.textContent;
  try { await navigator.clipboard.writeText(text); } catch {
    const area = document.body.appendChild(Object.assign(document.createElement('textarea'), { value: text }));
    area.select(); document.execCommand('copy'); area.remove();
  }
  button.textContent = 'Copied'; setTimeout(() => { button.textContent = 'Copy'; }, 1500);
});
`;
