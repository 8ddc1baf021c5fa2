// Serves dist/ until docker stops the container.
import { createReadStream } from "node:fs";
import { createServer } from "node:http";

const server = createServer((_, response) => createReadStream("dist/index.html").pipe(response));
server.listen(3000, () => console.log("the shop's front is open"));
process.on("SIGTERM", () => process.exit(0));
