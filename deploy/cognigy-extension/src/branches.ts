import { createNodeDescriptor } from "@cognigy/extension-tools";

import { Outcome } from "./status";

const looks: Record<Outcome, { name: string; label: { default: string; deDE: string }; color: string }> = {
  done: { name: "Done", label: { default: "Done", deDE: "Erledigt" }, color: "#2e9e5b" },
  rejected: { name: "Rejected", label: { default: "Rejected", deDE: "Abgelehnt" }, color: "#d9822b" },
  processing: { name: "Processing", label: { default: "Still Processing", deDE: "Noch in Arbeit" }, color: "#2b7de9" },
  notFound: { name: "NotFound", label: { default: "Not Found", deDE: "Nicht gefunden" }, color: "#6b7785" },
  error: { name: "Error", label: { default: "Error", deDE: "Fehler" }, color: "#cf3a3a" },
};

/** branchOf names the child of a node that an outcome leads to. The name is unique in the Extension. */
export function branchOf(node: string, outcome: Outcome): string {
  return `${node}${looks[outcome].name}`;
}

/** branchesOf describes the children of a node. They come and go with it. */
export function branchesOf(node: string, outcomes: Outcome[]) {
  return outcomes.map((outcome) =>
    createNodeDescriptor({
      type: branchOf(node, outcome),
      parentType: node,
      defaultLabel: looks[outcome].label,
      constraints: {
        editable: false,
        deletable: false,
        creatable: false,
        movable: false,
        placement: { predecessor: { whitelist: [] } },
      },
      appearance: { color: looks[outcome].color, textColor: "white", variant: "mini", showIcon: false },
    }),
  );
}
