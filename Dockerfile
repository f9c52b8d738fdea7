# The web page on a CPU, as a user without rights:
#   docker build -t ssm-metarl . && docker run --rm -p 127.0.0.1:7860:7860 ssm-metarl
# To keep runs, add -v ssm-metarl-runs:/home/page/runs
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 page
WORKDIR /home/page/ssm-metarl

COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY ssm_metarl ssm_metarl
RUN pip install --no-cache-dir -c constraints.txt \
      --extra-index-url https://download.pytorch.org/whl/cpu ".[app]"

USER page
WORKDIR /home/page
RUN mkdir runs
EXPOSE 7860
HEALTHCHECK --start-period=30s CMD python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/', timeout=5)"
CMD ["ssm-metarl", "app", "--host", "0.0.0.0", "--runs", "runs"]
