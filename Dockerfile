# One file, three images:  docker build --target serve .   (or serve-lite, or train); `make image` does it.
#
#   serve        TensorFlow for CPUs; nothing of the training stack
#   serve-lite   LiteRT; no TensorFlow at all
#   train        the trainer, the search, and the service that the gate starts
#
# BASE may be any Linux with Python 3.11 to 3.13 as python3 and its venv module. To use a mirror, give a build secrets,
# which no layer keeps: `pip` is a pip.conf, `ca` the certificates that it names as /run/secrets/ca.
#   make image ARGS="--secret id=pip,src=pip.conf --secret id=ca,src=/etc/ssl/certs/ca-certificates.crt"
ARG BASE=python:3.11-slim

FROM ${BASE} AS python
ENV PATH=/opt/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

# Only the lists of dependencies are taken from pyproject.toml, so that other changes of it install nothing again.
FROM python AS requirements
COPY pyproject.toml deploy/requirements.py /
RUN python3 /requirements.py /pyproject.toml /lists

FROM python AS venv
COPY constraints.txt /
# The next stages remove pip: nothing is installed into a running container.
RUN python3 -m venv /opt/venv

FROM venv AS lite-packages
COPY --from=requirements /lists/serve-lite.txt /
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    pip install --no-cache-dir --constraint /constraints.txt --requirement /serve-lite.txt \
    && pip uninstall --yes pip setuptools \
    # Accelerators and command line tools that a CPU interpreter never loads, sources in C++ and Cython, numpy's tests.
    && cd /opt/venv/lib/python3*/site-packages \
    && rm -r ai_edge_litert/libLiteRtWebGpuAccelerator.so ai_edge_litert/tools ai_edge_litert/vendors \
    && find . -regex '.*\.\(cpp\|h\|pxd\|pxi\|pyx\)' -delete \
    && find numpy -name tests -type d -prune -exec rm -r {} +

FROM venv AS serve-packages
COPY --from=requirements /lists/serve.txt /
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    pip install --no-cache-dir --constraint /constraints.txt --requirement /serve.txt \
    && pip uninstall --yes pip libclang \
    # C++ headers for building operations, sources in C++ and Cython, numpy's tests.
    && cd /opt/venv/lib/python3*/site-packages \
    && rm -r tensorflow/include \
    && find . -regex '.*\.\(cpp\|h\|pxd\|pxi\|pyx\)' -delete \
    && find numpy -name tests -type d -prune -exec rm -r {} +

FROM venv AS train-packages
COPY --from=requirements /lists/train.txt /
RUN --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    pip install --no-cache-dir --constraint /constraints.txt --requirement /train.txt \
    && pip uninstall --yes pip libclang \
    && rm -r /opt/venv/lib/python3*/site-packages/tensorflow/include

# Compiled here, because a read-only container cannot do it.
FROM python AS serve-code
COPY --from=requirements /lists/metadata /app
COPY registry /app/registry
COPY decoding /app/decoding
COPY serving /app/serving
RUN python3 -m compileall -q /app

FROM serve-code AS train-code
COPY trainer /app/trainer
COPY tuning /app/tuning
RUN python3 -m compileall -q /app

FROM python AS container
# `make image` adds the revision; a label here would invalidate the layers below with each commit.
LABEL org.opencontainers.image.title="cnn-model-service" \
      org.opencontainers.image.description="Train, judge, version and serve small image classifiers."
WORKDIR /app
# It writes only to /tmp. Kubernetes checks the numeric user id for runAsNonRoot.
ENV HOME=/tmp
USER 10001:10001

FROM container AS service
ENV HOST=0.0.0.0 PORT=8080 MODELS=/models WAIT_FOR_MODEL=1
EXPOSE 8080
# Healthy means ready: a container without a model is alive, but cannot serve yet.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s CMD ["python3", "-c", \
    "import os, urllib.request as u; u.urlopen(f\"http://127.0.0.1:{os.environ['PORT']}/readyz\", timeout=2)"]
# It becomes gunicorn by exec, so that signals reach it as process 1.
ENTRYPOINT ["python3", "-m", "serving"]

FROM service AS serve-lite
ENV RUNTIME=litert
COPY --from=lite-packages /opt/venv /opt/venv
COPY --from=serve-code /app /app

FROM container AS train
ENV ARTIFACTS=/artifacts
COPY --from=train-packages /opt/venv /opt/venv
COPY --from=train-code /app /app
ENTRYPOINT ["python3", "-m", "trainer"]

# Last, so that a build without --target makes it.
FROM service AS serve
COPY --from=serve-packages /opt/venv /opt/venv
COPY --from=serve-code /app /app
