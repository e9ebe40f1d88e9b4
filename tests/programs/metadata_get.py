"""Asks a metadata server: as it should be, without the header, and as if through a proxy. One line each: status and body."""
import http.client
import os
import sys

address = (sys.argv[1:2] or [""])[0] or os.environ["GCE_METADATA_HOST"]
path = "/computeMetadata/v1/" + (sys.argv[2:3] or ["project/project-id"])[0]
flavor = {"Metadata-Flavor": "Google"}
for headers in (flavor, {}, {**flavor, "X-Forwarded-For": "10.0.0.1"}):
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    print(answer.status, answer.read().decode().strip().replace("\n", " "))
