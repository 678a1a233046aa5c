# The server on NVIDIA's CUDA runtime image, which brings cuBLAS and NVRTC; the driver and the card come with the container's
# runtime. Without a card it computes on the CPU. Takes the launcher's arguments: docker run IMAGE --model-id ...

ARG NODE_IMAGE=node:20-bookworm-slim
ARG CUDA_IMAGE=nvidia/cuda:13.0.2-runtime-ubuntu24.04

FROM ${NODE_IMAGE} AS build
WORKDIR /app
# Dependencies first: they change less often than the sources.
COPY package.json package-lock.json ./
COPY packages/server/package.json packages/server/
COPY packages/demo-model/package.json packages/demo-model/
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY tsconfig.base.json ./
COPY packages packages
RUN npx tsc -b packages/server \
  && find packages/server/dist \( -name '*.test.*' -o -name '*.tsbuildinfo' \) -delete \
  && npm prune --omit=dev --ignore-scripts --no-audit --no-fund

FROM ${CUDA_IMAGE}
# Node is one file; what it links to is part of every Ubuntu.
COPY --from=build /usr/local/bin/node /usr/local/bin/node
WORKDIR /app
COPY LICENSE package.json ./
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/packages/demo-model packages/demo-model
COPY --from=build /app/packages/server/package.json packages/server/
COPY --from=build /app/packages/server/bin packages/server/bin
COPY --from=build /app/packages/server/dist packages/server/dist
COPY --from=build /app/packages/server/src/backend/cuda/kernels packages/server/src/backend/cuda/kernels
RUN ln -s /app/node_modules/.bin/lorax /app/node_modules/.bin/lorax-launcher /usr/local/bin/ \
  && install -d -o 1000 -g 1000 /data

# As in LoRAX's image: models are kept in /data, and the port is 80. Compiled kernels are kept there too.
ENV HUGGINGFACE_HUB_CACHE=/data \
    XDG_CACHE_HOME=/data/.cache \
    PORT=80 \
    NODE_ENV=production
EXPOSE 80
USER 1000:1000

# A model may take long to download and load; until then nothing answers.
HEALTHCHECK --interval=10s --timeout=5s --start-period=15m \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.PORT}/health`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]

ENTRYPOINT ["lorax-launcher", "--hostname", "0.0.0.0"]
CMD ["--json-output"]
