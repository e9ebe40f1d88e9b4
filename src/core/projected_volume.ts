/**
 * Projected volumes: several sources in one folder. Rules: Kubernetes v1.34 pkg/volume/projected (collectData).
 *
 * A new kind of source is one more row of the table below.
 *
 * @module
 */
import type { V1Pod, V1ProjectedVolumeSource, V1VolumeProjection } from "@kubernetes/client-node";
import { configMapSelection } from "./config_map_volume.ts";
import { downwardApiFiles } from "./downward_api_volume.ts";
import { KrunError } from "./errors.ts";
import { objectFiles, objectNeeds } from "./object_files.ts";
import type { Payload, PayloadFile } from "./payload.ts";
import type { Needs } from "./pod_inputs.ts";
import { secretSelection } from "./secret_volume.ts";
import { tokenFiles, tokenRefOf } from "./service_account_token_volume.ts";
import { NO_NEEDS, type VolumeContext, type VolumeType } from "./volume_type.ts";

type SourceField = keyof V1VolumeProjection;
type Context = VolumeContext & { readonly defaultMode: number | undefined };

/** One kind of source. */
interface SourceType<Field extends SourceField> {
  needs(source: NonNullable<V1VolumeProjection[Field]>, pod: V1Pod): Needs;
  payload(source: NonNullable<V1VolumeProjection[Field]>, context: Context): Payload;
}

const SOURCES: { readonly [Field in SourceField]?: SourceType<Field> } = {
  secret: {
    needs: (source) => objectNeeds(secretSelection(source, undefined)),
    payload: (source, context) => objectFiles(secretSelection(source, context.defaultMode), context),
  },
  configMap: {
    needs: (source) => objectNeeds(configMapSelection(source, undefined)),
    payload: (source, context) => objectFiles(configMapSelection(source, context.defaultMode), context),
  },
  downwardAPI: {
    needs: () => NO_NEEDS,
    payload: (source, context) => downwardApiFiles(source.items ?? [], context),
  },
  serviceAccountToken: {
    needs: (source, pod) => ({ objects: [], tokens: [tokenRefOf(source, pod)] }),
    payload: tokenFiles,
  },
};

/** A `projected` volume: every source is tried before one failure is thrown, and a later source wins a path. */
export const projectedVolume: VolumeType<V1ProjectedVolumeSource> = {
  needs(source, pod) {
    const all = (source.sources ?? []).map((entry) =>
      withType(entry, (type, value) => type?.needs(value, pod) ?? NO_NEEDS)
    );
    return { objects: all.flatMap(({ objects }) => objects), tokens: all.flatMap(({ tokens }) => tokens) };
  },
  payload({ sources = [], defaultMode }, context) {
    const files = new Map<string, PayloadFile>();
    const failures: KrunError[] = [];
    for (const entry of sources) {
      try {
        for (const [path, file] of sourceFiles(entry, { ...context, defaultMode })) files.set(path, file);
      } catch (error) {
        if (!(error instanceof KrunError)) throw error;
        failures.push(error);
      }
    }
    if (failures.length > 0) throw joined(failures);
    return files;
  },
};

function sourceFiles(entry: V1VolumeProjection, context: Context): Payload {
  return withType(entry, (type, value, field) => {
    if (type !== undefined) return type.payload(value, context);
    throw new KrunError(
      "PodInvalid",
      `Cannot mount volume "${context.volume}": krun has no source ${
        field === undefined ? "without a kind" : `"${field}"`
      }`,
      `use one of ${Object.keys(SOURCES).join(", ")}`,
    );
  });
}

/** Calls `use` with the one kind that an entry is of; the API allows no entry with two. */
function withType<Result>(
  entry: V1VolumeProjection,
  use: (type: SourceType<SourceField> | undefined, value: never, field: string | undefined) => Result,
): Result {
  const [field, value] = Object.entries(entry).find(([, value]) => value !== undefined && value !== null) ?? [];
  return use(SOURCES[field as SourceField] as SourceType<SourceField> | undefined, value as never, field);
}

function joined(failures: readonly KrunError[]): KrunError {
  const [first, ...others] = failures as [KrunError, ...KrunError[]];
  if (others.length === 0) return first;
  const message = `${first.message} (and ${others.length} more failures of its sources)`;
  const details = failures.map((failure) => failure.message).join("\n");
  return new KrunError(first.code, message, first.hint, { cause: first, details });
}
