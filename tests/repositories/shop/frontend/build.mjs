// Puts the page's parts together.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";

const page = readFileSync("src/index.html", "utf8");
const script = readFileSync("src/shop.js", "utf8");
mkdirSync("dist", { recursive: true });
writeFileSync("dist/index.html", page.replace("<!-- script -->", () => `<script>${script}</script>`));
