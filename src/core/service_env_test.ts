import type { V1Service } from "@kubernetes/client-node";
import assert from "node:assert/strict";
import { loadVectors } from "../../tests/vectors.ts";
import type { Env } from "./pod_inputs.ts";
import { serviceEnv, type ServiceEnvOptions } from "./service_env.ts";

type Input = ServiceEnvOptions & { services: V1Service[] };

for (const { id, why, input, expect } of loadVectors<Input, Env>("service_env")) {
  Deno.test(`serviceEnv() ${id}: ${why}`, () => assert.deepEqual(serviceEnv(input.services, input), expect));
}
