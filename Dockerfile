# Two images of one build: `docker build --target proxy .` and `docker build --target registry .`; docker-compose.yml names
# both. It keeps to what every builder knows, and fetches nothing but the base image and npm's packages.
FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
COPY shared/package.json shared/
COPY registry/package.json registry/
COPY proxy/package.json proxy/
COPY e2e/package.json e2e/
RUN npm ci
COPY tsconfig.base.json tsconfig.json ./
COPY shared shared
COPY registry registry
COPY proxy proxy
RUN npx tsc -b && rm -r */src */tsconfig.json */dist/.tsbuildinfo tsconfig*.json

# What a service needs at run time: what was built, and its packages without typings, sources and source maps.
FROM build AS proxy-files
RUN npm ci --omit=dev --workspace @wharfie/proxy --prefer-offline && rm -r registry e2e package-lock.json .npmrc \
  && find . -type f '(' -name '*.map' -o -name '*.ts' -o -name '*.[cm]ts' ')' -delete

FROM build AS registry-files
RUN npm ci --omit=dev --workspace @wharfie/registry --prefer-offline && rm -r proxy e2e package-lock.json .npmrc \
  && find . -type f '(' -name '*.map' -o -name '*.ts' -o -name '*.[cm]ts' ')' -delete

FROM node:24-bookworm-slim AS service
WORKDIR /app
# A named volume takes the owner of the folder that it covers.
RUN install -d -o node -g node -m 700 /data /secret && ln -s /app/proxy/bin/wharfie.js /usr/local/bin/wharfie
COPY scripts/healthcheck.mjs ./
# As in scripts/node.env.
ENV NODE_ENV=production \
  NODE_OPTIONS="--max-semi-space-size=4 --v8-pool-size=1 --disable-warning=DEP0060" \
  MALLOC_ARENA_MAX=1 \
  MALLOC_TRIM_THRESHOLD_=131072 \
  WHARFIE_DATA=/data
USER node
VOLUME /data
# Without the shell script that is the base image's entry point: node is the first process, and gets the signals.
ENTRYPOINT []
ARG VERSION=0.1.0
LABEL org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.licenses="Apache-2.0" \
  org.opencontainers.image.base.name="docker.io/library/node:24-bookworm-slim"

FROM service AS registry
COPY --from=registry-files /app ./
COPY deploy/swift/profile.mjs swift-profile.mjs
ENV WHARFIE_REGISTRY_LISTEN=0.0.0.0:5001 WHARFIE_REGISTRY_ADMIN_LISTEN=0.0.0.0:5003
EXPOSE 5001
# It tries its storage when it starts. Later a full one, say, must not keep the door from what can still be pulled.
HEALTHCHECK --interval=3s --timeout=5s --start-period=60s CMD ["node", "healthcheck.mjs", "WHARFIE_REGISTRY_ADMIN_LISTEN"]
CMD ["node", "--no-memory-reducer", "--no-allocation-site-pretenuring", "registry/dist/main.js"]
LABEL org.opencontainers.image.title="Wharfie registry" \
  org.opencontainers.image.description="Keeps images on a disk or in OpenStack Swift; answers only what the proxy signed"

FROM service AS proxy
COPY --from=proxy-files /app ./
ENV WHARFIE_LISTEN=0.0.0.0:5000 WHARFIE_ADMIN_LISTEN=127.0.0.1:5002 \
  WHARFIE_REGISTRY_URL=http://registry:5001 WHARFIE_REGISTRY_ADMIN_LISTEN=registry:5003
EXPOSE 5000
# The registry answers for itself.
HEALTHCHECK --interval=3s --timeout=5s --start-period=60s CMD ["node", "healthcheck.mjs", "WHARFIE_ADMIN_LISTEN"]
CMD ["node", "--no-memory-reducer", "--no-allocation-site-pretenuring", "proxy/dist/main.js"]
LABEL org.opencontainers.image.title="Wharfie proxy" \
  org.opencontainers.image.description="The one public door of a Wharfie registry: who is it, and may they?"
