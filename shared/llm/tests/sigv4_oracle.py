"""Signs awkward requests with botocore, Amazon's own library, and prints what tests/sigv4.rs compares with.

python3 -m pip install botocore && python3 shared/llm/tests/sigv4_oracle.py > shared/llm/tests/sigv4_oracle.json
"""

import datetime
import json

import botocore
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

MOMENT = datetime.datetime(2026, 1, 1, 0, 0, 7)
BEDROCK = "https://bedrock-runtime.{region}.amazonaws.com"
MODELS = [
    "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "us.anthropic.claude-sonnet-4-20250514-v1:0",
    "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-20250514-v1:0",
    "arn:aws:bedrock:eu-west-1:123456789012:application-inference-profile/ab12cd34ef56",
    "arn:aws-us-gov:bedrock:us-gov-west-1:123456789012:provisioned-model/xyz",
    "with space+plus%percent~tilde_under-dash.dot",
    "größer",
]
BODIES = ["", "{}", '{"messages":[{"role":"user","content":[{"text":"Grüße \U0001f600"}]}]}']


def encoded(text):
    unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"
    return "".join(chr(b) if chr(b) in unreserved else f"%{b:02X}" for b in text.encode())


class Frozen(datetime.datetime):
    @classmethod
    def utcnow(cls):
        return MOMENT

    @classmethod
    def now(cls, tz=None):
        return MOMENT.replace(tzinfo=tz)


def sign(case):
    request = AWSRequest(
        method="POST",
        url=case["url"],
        data=case["body"].encode(),
        headers={"content-type": "application/json"},
    )
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", case["token"])
    SigV4Auth(credentials, "bedrock", case["region"]).add_auth(request)
    assert request.headers["X-Amz-Date"] == "20260101T000007Z", request.headers
    return request.headers["Authorization"]


def main():
    import botocore.auth
    import botocore.compat

    for module in (botocore.auth, botocore.compat):
        if hasattr(module, "get_current_datetime"):
            module.get_current_datetime = lambda remove_tzinfo=True: MOMENT
    botocore.auth.datetime.datetime = Frozen if hasattr(botocore.auth, "datetime") else None
    cases = []
    for number, model in enumerate(MODELS):
        for call in ("converse", "converse-stream", "invoke", "invoke-with-response-stream"):
            region = ("us-east-1", "eu-west-1", "us-gov-west-1")[number % 3]
            url = f"{BEDROCK.format(region=region)}/model/{encoded(model)}/{call}"
            for body in BODIES:
                token = "AQoDYXdzEPT//////////wEXAMPLE==" if len(cases) % 2 else None
                case = {"url": url, "region": region, "token": token, "body": body}
                cases.append({**case, "authorization": sign(case)})
    print(json.dumps({"botocore": botocore.__version__, "cases": cases}, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
