/**
 * Variables of the original program for what krun does not have yet. They are part of the table of settings, so that each is
 * known, explained, and answered (`reserved_settings.ts`) instead of passed over.
 *
 * @module
 */
import type { Setting } from "./setting.ts";

/** The reserved part of the table. A name leaves it when krun has what the name asks for. */
export const RESERVED_SETTINGS = [
  {
    env: "MESH_TENANT",
    group: "reserved",
    unit: "name, or -",
    unset: "none",
    says: "Tenant of a managed mesh",
    example: "-",
    seenBy: "program",
    reserved: "a managed mesh",
  },
  {
    env: "CA_POOL",
    group: "reserved",
    unit: "resource name",
    unset: "istiod signs",
    says: "Certificate authority pool that signs workload certificates",
    example: "projects/p/locations/l/caPools/c",
    seenBy: "program",
    reserved: "a managed mesh",
  },
  {
    env: "OSS_ISTIO",
    group: "reserved",
    unit: "any text",
    unset: "decided by the mesh",
    says: "Tokens for istiod have the audience istio-ca, which they always have; no warning",
    example: "true",
    seenBy: "program",
    reserved: "a managed mesh",
  },
] as const satisfies readonly Setting[];
