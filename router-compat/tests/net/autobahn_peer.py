"""A client of autobahn: does what a test wants to see, and prints what it saw as one line of JSON.

Arguments: the router's URL, the serializer, and for WAMP-CRA or tickets: the method, the authid and the secret.
"""

import asyncio
import json
import sys

from autobahn.asyncio.component import Component
from autobahn.wamp.exception import ApplicationError
from autobahn.wamp.types import EventDetails, PublishOptions, SubscribeOptions


async def chosen(session, details):
    """Which publications reach their own publisher, of some that choose among subscribers."""
    heard = asyncio.Queue()
    await session.subscribe(heard.put_nowait, "org.test.chosen")
    me, stranger = details.session, 17
    for choice in (
        {"exclude": [stranger]},
        {"exclude": [me]},
        {"eligible": [me, stranger]},
        {"eligible": [stranger]},
        {"exclude_authid": ["nobody"]},
        {"exclude_authid": [details.authid]},
        {"eligible_authid": [details.authid]},
        {"eligible_authid": ["nobody"]},
        {"exclude_authrole": ["nobody"]},
        {"exclude_authrole": [details.authrole]},
        {"eligible_authrole": [details.authrole]},
        {"eligible_authrole": ["nobody"]},
        {"eligible": [me], "exclude_authid": [details.authid]},
        {"eligible": [me], "eligible_authid": ["nobody"]},
        {"eligible": [], "exclude": []},
    ):
        name = " ".join(f"{key}:{'+'.join('me' if v in (me, details.authid, details.authrole) else 'other' for v in values)}"
                        for key, values in choice.items())
        await session.publish("org.test.chosen", name, options=PublishOptions(exclude_me=False, acknowledge=True, **choice))
    await session.publish("org.test.chosen", "end", options=PublishOptions(exclude_me=False, acknowledge=True))
    names = []
    while (name := await heard.get()) != "end":
        names.append(name)
    return names


def component(url, serializer, method=None, authid=None, secret=None):
    made = Component(
        transports=[{"type": "websocket", "url": url, "serializers": [serializer], "max_retries": 0}],
        realm="realm1",
        authentication={method: {"authid": authid, "ticket" if method == "ticket" else "secret": secret}}
        if method
        else None,
    )
    seen = {}

    @made.on_join
    async def joined(session, details):
        seen["role"] = details.authrole
        events = asyncio.Queue()

        def hear(payload, details: EventDetails = None):
            events.put_nowait([details.topic, payload])

        for pattern, match in (("org.buildbot.mq.control.worker.3.", "wildcard"), ("org.buildbot.other", "exact")):
            await session.subscribe(hear, pattern, SubscribeOptions(match=match, details_arg="details"))
        payload = {"none": None, "id": 2**53, "text": "ä€😀", "float": 1.5}
        options = PublishOptions(exclude_me=False, acknowledge=True)
        for topic in ("org.buildbot.mq.control.worker.3.stop", "org.buildbot.mq.control.worker.4.stop"):
            await session.publish(topic, payload, options=options)
        session.publish("org.buildbot.other", payload, options=PublishOptions(exclude_me=False))
        seen["events"] = [await events.get(), await events.get()]

        seen["chosen"] = await chosen(session, details)

        async def add(one, two):
            return one + two

        await session.register(add, "org.test.add")
        seen["sum"] = await session.call("org.test.add", 2, 3)
        try:
            await session.call("org.test.nothing")
        except ApplicationError as error:
            seen["error"] = error.error
        session.leave()

    return made, seen


async def main():
    made, seen = component(*sys.argv[1:])
    try:
        await asyncio.wait_for(made.start(asyncio.get_running_loop()), 20)
    except Exception as error:
        seen["failed"] = str(error)
    print(json.dumps(seen))


asyncio.run(main())
