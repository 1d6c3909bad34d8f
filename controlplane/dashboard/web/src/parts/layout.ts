// Where the nodes of a graph stand: in columns from left to right, each behind what it reads. A line that passes a column has a
// place of its own there, so that it runs between nodes and not behind them; lines from one node run together.
import type { Node } from "./Graph.svelte";

const height = 42;
const gapX = 24;
const gapY = 12;
/** How much room a line that passes takes. */
const lane = 12;

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Placed {
  boxes: Map<string, Box>;
  edges: { from: string; to: string; path: string }[];
  width: number;
  height: number;
}

interface Slot {
  id: string;
  node: Node | undefined;
  ins: string[];
  outs: string[];
}

// A column is as wide as its longest title, within bounds.
const fit = (column: Slot[]) => Math.min(220, Math.max(112, ...column.map(({ node: n }) => (n ? Math.max(n.title.length * 7.8, (n.note ?? "").length * 6.2) + 26 : 0))));

/** How many steps each node is behind what reads nothing; KPIs, where everything leads, stand together at the end. */
function ranks(nodes: Node[]): Map<string, number> {
  const byId = new Map(nodes.map((n) => [n.id, n]));
  const rank = new Map<string, number>();
  const of = (id: string, seen: Set<string>): number => {
    const known = rank.get(id);
    if (known !== undefined) return known;
    if (seen.has(id)) return 0;
    seen.add(id);
    const r = Math.max(-1, ...(byId.get(id)?.inputs ?? []).filter((i) => byId.has(i)).map((i) => of(i, seen))) + 1;
    rank.set(id, r);
    return r;
  };
  for (const n of nodes) of(n.id, new Set());
  const end = Math.max(0, ...nodes.filter((n) => n.kind !== "kpi").map((n) => rank.get(n.id) ?? 0)) + 1;
  for (const n of nodes) if (n.kind === "kpi") rank.set(n.id, end);
  return rank;
}

export function layout(nodes: Node[]): Placed {
  const rank = ranks(nodes);
  const columns: Slot[][] = [];
  const slots = new Map<string, Slot>();
  const add = (id: string, column: number, node?: Node) => {
    const slot: Slot = { id, node, ins: [], outs: [] };
    slots.set(id, slot);
    (columns[column] ??= []).push(slot);
    return slot;
  };
  for (const n of nodes) add(n.id, rank.get(n.id)!, n);
  const ways: string[][] = [];
  for (const n of nodes) {
    for (const input of n.inputs) {
      if (!rank.has(input) || rank.get(input)! >= rank.get(n.id)!) continue;
      const way = [input];
      for (let c = rank.get(input)! + 1; c < rank.get(n.id)!; c++) {
        const id = `${input} passes ${c}`;
        if (!slots.has(id)) add(id, c);
        way.push(id);
      }
      way.push(n.id);
      way.slice(1).forEach((id, i) => {
        const from = slots.get(way[i]!)!;
        if (!from.outs.includes(id)) (from.outs.push(id), slots.get(id)!.ins.push(from.id));
      });
      ways.push(way);
    }
  }
  const room = (s: Slot) => (s.node ? height + gapY : lane);
  const tall = Math.max(height + gapY, ...columns.map((c) => c.reduce((sum, s) => sum + room(s), 0)));
  const middle = new Map<string, number>();
  // Each column takes the whole height.
  const settle = (column: Slot[]) => {
    const spare = (tall - column.reduce((sum, s) => sum + room(s), 0)) / column.length;
    let y = 0;
    for (const s of column) {
      middle.set(s.id, y + (room(s) + spare) / 2);
      y += room(s) + spare;
    }
  };
  columns.forEach(settle);
  // Nodes stand in the order of what they read and of what reads them, so that lines cross little.
  const arrange = (column: Slot[], beside: (s: Slot) => string[]) => {
    const mean = new Map(column.map((s) => [s.id, beside(s).length ? beside(s).reduce((sum, id) => sum + middle.get(id)!, 0) / beside(s).length : middle.get(s.id)!]));
    column.sort((a, b) => mean.get(a.id)! - mean.get(b.id)!);
    settle(column);
  };
  for (let n = 0; n < 4; n++) {
    columns.slice(1).forEach((c) => arrange(c, (s) => s.ins));
    if (n < 3) columns.slice(0, -1).reverse().forEach((c) => arrange(c, (s) => s.outs));
  }
  const widths = columns.map(fit);
  const left = widths.map((_, c) => widths.slice(0, c).reduce((sum, w) => sum + w + gapX, 0));
  const at = new Map<string, Box>();
  columns.forEach((column, c) => column.forEach((s) => at.set(s.id, { x: left[c]!, y: middle.get(s.id)! - height / 2 - gapY / 2, width: widths[c]!, height })));
  const line = (way: string[]) => {
    let path = "";
    way.forEach((id, i) => {
      const b = at.get(id)!;
      const y = b.y + height / 2;
      if (i > 0) {
        const before = at.get(way[i - 1]!)!;
        const x = before.x + before.width;
        const bend = Math.max(gapX / 2, (b.x - x) / 2);
        path += `C${x + bend} ${before.y + height / 2} ${b.x - bend} ${y} ${b.x} ${y}`;
      }
      if (i === 0) path = `M${b.x + b.width} ${y}`;
      else if (i < way.length - 1) path += `L${b.x + b.width} ${y}`;
    });
    return path;
  };
  return {
    boxes: new Map(nodes.map((n) => [n.id, at.get(n.id)!])),
    edges: ways.map((way) => ({ from: way[0]!, to: way.at(-1)!, path: line(way) })),
    width: widths.reduce((sum, w) => sum + w + gapX, -gapX),
    height: tall - gapY,
  };
}
