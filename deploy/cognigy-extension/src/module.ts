import { createExtension } from "@cognigy/extension-tools";

import { oncegate } from "./connection";
import { callOnce } from "./nodes/callOnce";
import { getResult } from "./nodes/getResult";

export default createExtension({
  nodes: [...callOnce, ...getResult],
  connections: [oncegate],
  options: { label: "Oncegate" },
});
