"""A visit of the demo page in a real browser, in a process of its own; what was seen goes to stdout as JSON.

python visit.py ADDRESS BROWSER SOUND TOO-LONG [FOLDER-FOR-SCREENSHOTS]
"""

import json
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

# Decodes what a player plays: seconds, and the loudest sample.
HEARD = """async player => {
    const bytes = await (await fetch(player.currentSrc || player.src)).arrayBuffer();
    const sound = await new AudioContext({sampleRate: 24000}).decodeAudioData(bytes);
    return [sound.duration, sound.getChannelData(0).reduce((most, each) => Math.max(most, Math.abs(each)), 0)];
}"""
IS_PLAYING = "selector => { const it = document.querySelector(selector); return it && it.currentTime > 0.2; }"
# A microphone that beeps, and leave to use it.
ARGUMENTS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
WAIT_MS = 60_000


class Visit:
    """One page that is open, and what was seen on it."""

    def __init__(self, page, address):
        self.page, self.seen, self.elsewhere, self.errors = page, {}, [], []
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.route(lambda url: not url.startswith((address, "data:", "blob:")), self.refuse)
        page.goto(address)

    def refuse(self, route):
        """Note and refuse a request that leaves this machine."""
        self.elsewhere.append(route.request.url)
        route.abort()

    def upload(self, path):
        """Give the page a sound in place of the one it has."""
        clear = self.page.locator("#sound button[aria-label='Clear']")
        if clear.count():
            clear.click()
            self.page.locator("#sound-problem .problem").wait_for(state="detached")
        self.page.locator("#sound input[type=file]").set_input_files(path)

    def heard(self, selector):
        """Seconds and loudest sample of each player in a part of the page."""
        self.page.locator(f"{selector} audio").first.wait_for()
        return [player.evaluate(HEARD) for player in self.page.locator(f"{selector} audio").all()]

    def text(self, selector):
        """What a part of the page says, once it says something."""
        found = self.page.locator(selector)
        found.wait_for()
        return found.inner_text()


def look_around(visit, sound, wrong):
    """Do what a visitor does, and keep what is seen."""
    page, seen = visit.page, visit.seen
    seen["heading"] = visit.text("h1")
    seen["title"] = page.title()
    # So often, because an answer that the page loses shows up in one of four.
    for name in ("long", "text") * 5:
        visit.upload(wrong / f"{name}.wav")
        seen[name] = visit.text("#sound-problem .problem")
    visit.upload(sound)
    seen["levels"] = visit.heard("#levels")
    seen["level names"] = page.locator("#levels b").all_inner_texts()
    seen["blocks"] = page.locator("#tokens .map rect").count()
    seen["block"] = page.locator("#tokens .map rect title").first.text_content()
    seen["colours"] = sorted(
        {each.get_attribute("fill") for each in page.locator("#tokens .legend rect").all()}
    )
    seen["problem is gone"] = page.locator("#sound-problem .problem").count() == 0
    page.locator("#ids-fold button").first.click()
    seen["ids"] = page.locator("#ids textarea").input_value()
    page.locator("#compare").click()
    seen["compared"] = visit.heard("#compared")
    page.locator("#seeds input, #seeds textarea").first.fill("loud")
    page.locator("#compare").click()
    seen["wrong seed"] = visit.text("#compared .problem")
    speak(visit)


def record(visit):
    """Record two seconds of the beeps that a browser under test has for a microphone."""
    page = visit.page
    page.locator("#sound button[aria-label='Clear']").click()
    page.locator("#levels audio").first.wait_for(state="hidden")
    page.locator("#sound button[aria-label='Record audio']").click()
    page.locator("#sound button:has-text('Record')").first.click()
    page.wait_for_timeout(2000)
    page.locator("#sound button:has-text('Stop')").first.click()
    visit.seen["recorded"] = visit.heard("#levels")


def speak(visit):
    """Paste tokens: wrong ones, and those of the sound."""
    page, seen = visit.page, visit.seen
    page.locator("#pasted textarea").fill("hello")
    page.locator("#speak").click()
    seen["no speech"] = visit.text("#spoken .problem")
    page.locator("#pasted textarea").fill(seen["ids"])
    page.locator("#speak").click()
    page.wait_for_function(IS_PLAYING, arg="#spoken audio")
    seen["spoken"] = visit.heard("#spoken")
    seen["player's seconds"] = page.locator("#spoken audio").evaluate("player => player.duration")


def main():
    """Visit, and write what was seen."""
    address, browser, sound, wrong, *folder = sys.argv[1:]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=ARGUMENTS)
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        visit = Visit(page, address)
        look_around(visit, sound, Path(wrong))
        for width in (390, 1280):
            page.set_viewport_size({"width": width, "height": 900})
            visit.seen[f"overflow at {width}"] = page.evaluate(
                "document.documentElement.scrollWidth - innerWidth"
            )
            if folder:
                page.wait_for_timeout(500)
                page.screenshot(path=Path(folder[0]) / f"{width}.png", full_page=True)
        record(visit)
        chromium.close()
    json.dump({**visit.seen, "elsewhere": visit.elsewhere, "errors": visit.errors}, sys.stdout)


if __name__ == "__main__":
    main()
