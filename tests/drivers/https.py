"""HTTPS to a local server, by name: requests (urllib3, OpenSSL), httpx, pycurl (libcurl, OpenSSL)."""

import io
import os
import sys

from many import fan_out, report, timed

base = f"https://localhost:{os.environ['HTTPS_PORT']}"
authority = os.environ["HTTPS_CA"]

if sys.argv[1] == "requests":
    import requests
    import urllib3

    version = f"{requests.__version__} (urllib3 {urllib3.__version__})"

    def client():
        session = requests.Session()
        session.verify = authority
        session.trust_env = False

        def get(path):
            answer = session.get(base + path, timeout=60)
            return answer.status_code, answer.content

        return get

elif sys.argv[1] == "httpx":
    import ssl

    import httpx

    version = httpx.__version__
    context = ssl.create_default_context(cafile=authority)

    def client():
        session = httpx.Client(verify=context, timeout=60, trust_env=False)

        def get(path):
            answer = session.get(base + path)
            return answer.status_code, answer.content

        return get

else:
    import pycurl

    version = pycurl.version

    def client():
        handle = pycurl.Curl()
        handle.setopt(pycurl.CAINFO, authority)
        handle.setopt(pycurl.NOSIGNAL, 1)
        handle.setopt(pycurl.TIMEOUT, 60)

        def get(path):
            body = io.BytesIO()
            handle.setopt(pycurl.URL, base + path)
            handle.setopt(pycurl.WRITEDATA, body)
            handle.perform()
            return handle.getinfo(pycurl.RESPONSE_CODE), body.getvalue()

        return get


def body(number):
    get = client()
    first = get(f"/echo?n={number}")
    status, large = get("/large")
    missing, _ = get("/missing")
    last = get(f"/echo?n={number + 1}")
    return first, status, len(large), sum(large[::997]), missing, last


report(sys.argv[1], version, timed(lambda: fan_out(body)))
