// What every page does: keep times fresh, follow events, obey keys. Without it each page is still whole.
import "./routes.js";
import { startClock } from "./time.js";
import { startLive } from "./live.js";
import { startKeys } from "./keys.js";

startClock();
startLive();
startKeys();
if (document.querySelector("[data-filter]")) import("./filter.js");
