// A graph as a picture and as rows.
import { save } from "../lib/download";
import { colour } from "./chart";
import type { Node } from "./Graph.svelte";
import { layout } from "./layout";

export function saveGraph(name: string, title: string, nodes: Node[]) {
  const { boxes, edges, width, height } = layout(nodes);
  const [margin, top] = [16, 52];
  const canvas = document.createElement("canvas");
  canvas.width = 2 * (width + 2 * margin);
  canvas.height = 2 * (height + top + margin);
  const c = canvas.getContext("2d");
  if (!c) return;
  const font = getComputedStyle(document.body).fontFamily;
  c.scale(2, 2);
  c.fillStyle = colour("sheet");
  c.fillRect(0, 0, canvas.width, canvas.height);
  c.fillStyle = colour("text");
  c.font = `600 15px ${font}`;
  c.fillText(title, margin, 28);
  c.translate(margin, top);
  c.strokeStyle = colour("line-strong");
  for (const e of edges) c.stroke(new Path2D(e.path));
  for (const n of nodes) {
    const b = boxes.get(n.id)!;
    c.beginPath();
    c.roundRect(b.x, b.y, b.width, b.height, n.kind === "kpi" ? b.height / 2 : 7);
    c.fillStyle = colour("sheet");
    c.fill();
    c.strokeStyle = colour(n.look || "line-strong");
    c.stroke();
    c.fillStyle = colour("text");
    c.font = `600 12px ${font}`;
    c.fillText(n.title, b.x + 12, b.y + 18, b.width - 20);
    c.fillStyle = colour("muted");
    c.font = `11px ${font}`;
    c.fillText(n.note ?? "", b.x + 12, b.y + 33, b.width - 20);
  }
  save(name, canvas.toDataURL("image/png"));
}

export const rowsOf = (nodes: Node[]): [string[], unknown[][]] => [["name", "about", "reads"], nodes.map((n) => [n.id, n.note, n.inputs.join(" ")])];
