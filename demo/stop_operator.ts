/** Ends the operator that the demo left running, if there is one. */
import { stopOperator } from "./background_operator.ts";

if (await stopOperator()) console.log("Stopped the operator");
