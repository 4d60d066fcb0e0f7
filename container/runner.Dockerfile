# The image of the runner's server. Its engine is reached over a socket or an address; the sandboxes are the engine's.
ARG BASE=debian:trixie-slim
FROM ${BASE} AS node
RUN export DEBIAN_FRONTEND=noninteractive \
 && apt-get -q update \
 && apt-get -q install -y --no-install-recommends ca-certificates nodejs npm
COPY container/ca /usr/local/share/ca-certificates/host
RUN update-ca-certificates
ARG NODE_VERSION=24.21.0
RUN export NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
 && npm install --prefix /tmp/node --no-fund --no-audit --no-update-notifier --loglevel=error \
      "node-linux-$(node -p process.arch)@${NODE_VERSION}" \
 && mv /tmp/node/node_modules/node-linux-*/bin/node /usr/local/bin/node \
 && /usr/local/bin/node --version

FROM ${BASE}
LABEL org.opencontainers.image.title="Sallyport runner" \
      org.opencontainers.image.licenses="MIT" \
      sallyport.image="runner"
RUN export DEBIAN_FRONTEND=noninteractive \
 && apt-get -q update \
 && apt-get -q install -y --no-install-recommends ca-certificates git libatomic1 tini \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/*
COPY container/ca /usr/local/share/ca-certificates/host
RUN update-ca-certificates \
 && groupadd -g 10001 runner && useradd -M -d /data -u 10001 -g 10001 -s /usr/sbin/nologin runner \
 && install -d -o runner -g runner -m 0700 /data
COPY --from=node /usr/local/bin/node /usr/local/bin/node
COPY dist /opt/sallyport/dist
COPY container /opt/sallyport/container
RUN printf '#!/bin/sh\nexec node /opt/sallyport/dist/runner.js "$@"\n' > /usr/local/bin/sallyport-runner \
 && chmod 0755 /usr/local/bin/sallyport-runner \
 && chmod -R a=rX /opt/sallyport \
 && node /opt/sallyport/dist/runner.js --help > /dev/null

ENV LANG=C.UTF-8 \
    HOME=/data \
    NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt \
    SALLYPORT_HOME=/data \
    SALLYPORT_HOST=0.0.0.0
USER runner
VOLUME /data
EXPOSE 7334
STOPSIGNAL SIGTERM
# That it answers; /health says besides whether an engine and a credential are there, which no restart would mend.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["sallyport-runner", "health"]
ENTRYPOINT ["tini", "--", "sallyport-runner"]
CMD ["serve"]
