import assert from "node:assert/strict";
import fc from "fast-check";
import { readInterfaces, readIpRanges, readPorts, type TrafficList } from "./traffic_list.ts";

const variable = (text: string): TrafficList => ({ from: "variable", name: "OUTBOUND_PORTS_EXCLUDE", text });
const annotation = (text: string): TrafficList => ({ from: "annotation", name: "traffic.sidecar.istio.io/x", text });
const ANY = { star: true };
const LISTED = { star: false };

Deno.test("readPorts() gives every port of a list once, in its order, whatever blanks are around them", () => {
  const blanks = fc.constantFrom("", " ", "\t", "  ");
  const ports = fc.array(fc.tuple(blanks, fc.integer({ min: 1, max: 65535 }), blanks));
  fc.assert(fc.property(ports, (list) => {
    const text = list.map(([before, port, after]) => `${before}${port}${after}`).join(",");
    assert.deepEqual(readPorts(variable(text), LISTED), [...new Set(list.map(([, port]) => port))]);
  }));
});

Deno.test("readIpRanges() gives every range of a list in canonical form", () => {
  assert.deepEqual(readIpRanges(variable("10.0.0.0/8, FD00::/8"), LISTED), [
    { text: "10.0.0.0/8", family: 4 },
    { text: "fd00::/8", family: 6 },
  ]);
  assert.deepEqual(readIpRanges(variable(" "), LISTED), []);
});

Deno.test("readInterfaces() gives every name once", () => {
  assert.deepEqual(readInterfaces(annotation("eth1, eth1.100,virt-0")), ["eth1", "eth1.100", "virt-0"]);
  assert.deepEqual(readInterfaces(annotation("")), []);
});

Deno.test("readIpRanges() and readPorts() take * for all, alone and only where it has a meaning", () => {
  assert.equal(readIpRanges(annotation(" * "), ANY), "*");
  assert.equal(readPorts(annotation("*"), ANY), "*");
  for (const text of ["*", "*,10.0.0.0/8"]) {
    assert.throws(() => readIpRanges(variable(text), LISTED), { code: "SettingInvalid" }, text);
  }
  assert.throws(() => readPorts(annotation("80,*"), ANY), { code: "PodInvalid" });
});

Deno.test("A malformed list is an error that names the place, the entry and an example", () => {
  assert.throws(() => readPorts(variable("80,http"), LISTED), {
    code: "SettingInvalid",
    message: 'Cannot read setting "OUTBOUND_PORTS_EXCLUDE": "http" is not a port from 1 to 65535',
    hint: "write for example OUTBOUND_PORTS_EXCLUDE=8080,9090",
  });
  assert.throws(() => readIpRanges(annotation("10.0.0.1"), ANY), {
    code: "PodInvalid",
    message:
      'Cannot read annotation "traffic.sidecar.istio.io/x" of the Pod: "10.0.0.1" is not a range of addresses, nor * for all',
    hint: "write for example traffic.sidecar.istio.io/x: 10.0.0.0/8,fd00::/8",
  });
  for (const text of ["80,", ",", "0", "65536", "8000:8010", "-1", "8e3"]) {
    assert.throws(() => readPorts(annotation(text), ANY), { code: "PodInvalid" }, text);
  }
  for (const text of ["eth1,", "-i", "!eth0", "a/b", "a b", "sixteen-letters-"]) {
    assert.throws(() => readInterfaces(annotation(text)), { code: "PodInvalid" }, text);
  }
});

Deno.test("Whatever text a list is, it is read or refused by a KrunError", () => {
  fc.assert(fc.property(fc.string(), (text) => {
    for (const read of [readPorts, readIpRanges]) {
      try {
        assert.ok(Array.isArray(read(variable(text), LISTED)));
      } catch (error) {
        assert.equal((error as { code?: string }).code, "SettingInvalid");
      }
    }
  }));
});
