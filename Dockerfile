# The web page on a CPU, as a user without rights:
#   docker build -t ssm-metarl . && docker run --rm -p 127.0.0.1:7860:7860 ssm-metarl
# To keep runs, add -v ssm-metarl-runs:/home/page/runs
# Any command instead of the page:
#   docker run --rm ssm-metarl ssm-metarl adapt pretrained/cartpole --episodes 5 --out /tmp/adapted
FROM python:3.13-slim

RUN useradd --create-home --uid 1000 page
WORKDIR /home/page/ssm-metarl

COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY examples/families examples/families
COPY ssm_metarl ssm_metarl
# torch comes first and from PyTorch's own index alone, whose builds for the CPU are a tenth as large.
RUN pip install --no-cache-dir -c constraints.txt --index-url https://download.pytorch.org/whl/cpu torch \
 && pip install --no-cache-dir -c constraints.txt ".[app,hub]"

USER page
WORKDIR /home/page
RUN mkdir runs
EXPOSE 7860
HEALTHCHECK --start-period=30s CMD python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/', timeout=5)"
CMD ["ssm-metarl", "app", "--host", "0.0.0.0", "--runs", "runs"]
