/** The tests of tests/run_test.ts once more, with the compiled binary (Deno 2.6.10) in place of the source. */
import { useBinary } from "../krun_process.ts";
import { compiledKrun } from "./compiled.ts";

useBinary(await compiledKrun());
await import("../run_test.ts");
