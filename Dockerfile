# An image that holds krun and nothing else, to be copied from or built upon:
#
#   FROM krun
#   COPY server /server
#   CMD ["/server", "--port", "8080"]
#
# The binary needs glibc and libgcc_s: distroless/cc has both, distroless/static and musl images have not.
FROM node:22-bookworm-slim AS build
WORKDIR /krun
COPY . .
RUN npx -y deno@2.9.6 task compile

FROM gcr.io/distroless/cc-debian12
COPY --from=build /krun/dist/krun /krun
ENTRYPOINT ["/krun", "--"]
