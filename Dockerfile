# The command `uncover`, for CPUs. Not tried: it was written where no Docker daemon runs; its last step tries the image.
#
#     docker build -t uncover .
#     docker run --rm --user "$(id -u):$(id -g)" -v "$PWD":/photos uncover restore photos results
FROM python:3.11-slim
# Paddle's threads.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 jbig2dec && rm -rf /var/lib/apt/lists/*
RUN --mount=type=bind,source=requirements-cpu.txt,target=/requirements.txt \
    pip install --no-cache-dir -r /requirements.txt
RUN --mount=type=bind,target=/source,rw pip install --no-cache-dir '/source[heif,pdf,web]'
# Networks made ready for the engines; any user may write there. A volume keeps them for the next container.
ENV UNCOVER_CACHE=/cache HOME=/tmp
RUN mkdir -m 1777 /cache /photos
USER nobody
WORKDIR /photos
RUN --mount=type=bind,source=test_code/samples/photos,target=/samples \
    uncover restore /samples /tmp/tried --include 'magazine*' && uncover doctor && rm -r /tmp/tried /cache/*
ENTRYPOINT ["uncover"]
