"""Held-out domains of clinc150, five rows an intent: MAML against plain fine-tuning from the same base.

    STEPLADDER_TEST_DATA=... python benchmarks/maml_clinc150.py [--base all-minilm-l6-v2]

Ten domains of 15 intents (Larson et al. 2019, EMNLP, appendix). Two at a time are held out, and an
initialisation is learned from the other eight; an episode is a held-out domain with a draw of five training
rows an intent, answered on all its test rows. The rivals get the same rows and nothing of other domains;
their settings are the best of a grid by their mean on these very test rows, which leans to their side.
A linear head on the frozen features, trained to its optimum, is shown beside them.
Exits with 1 where MAML is not better than the best of plain fine-tuning.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path
from statistics import mean, stdev

import torch
from common import heading, read_rows, rows_folder, show
from stepladder.core.method import Data
from stepladder.core.model.base import Base, load_base
from stepladder.core.model.by_task import head_logits
from stepladder.core.model.engine import Engine
from stepladder.core.model.features import Features, NetworkFeatures, Weights
from stepladder.core.model.headed import frozen_features
from stepladder.core.model.locate import DEFAULT_BASE, resolve_base
from stepladder.core.model.probe import fit_head
from stepladder.core.training.context import FitContext
from stepladder.core.types import Example
from stepladder.plugins.methods.maml import Inner, Maml, descend, slopes_and_loss, solve
from stepladder.plugins.tasks.classify import Classify
from torch import Tensor

SHOTS, DRAWS = 5, 4
FINE_TUNED = "fine-tuned network"
TRAIN_ROWS = 20  # of each intent, to learn and to draw from: reading them all takes five times as long
DOMAINS = {
    name: intents.split()
    for name, intents in {
        "banking": "transfer transactions balance freeze_account pay_bill bill_balance bill_due "
        "interest_rate routing min_payment order_checks pin_change report_fraud account_blocked "
        "spending_history",
        "credit_cards": "credit_score report_lost_card credit_limit rewards_balance new_card "
        "application_status card_declined international_fees apr redeem_rewards credit_limit_change "
        "damaged_card replacement_card_duration improve_credit_score expiration_date",
        "kitchen_and_dining": "recipe restaurant_reviews calories nutrition_info restaurant_suggestion "
        "ingredients_list ingredient_substitution cook_time food_last meal_suggestion restaurant_reservation "
        "confirm_reservation how_busy cancel_reservation accept_reservations",
        "home": "shopping_list shopping_list_update next_song play_music update_playlist todo_list "
        "todo_list_update calendar calendar_update what_song order order_status reminder reminder_update "
        "smart_home",
        "auto_and_commute": "traffic directions gas gas_type distance current_location mpg oil_change_when "
        "oil_change_how jump_start uber schedule_maintenance last_maintenance tire_pressure tire_change",
        "travel": "book_flight book_hotel car_rental travel_suggestion travel_alert travel_notification "
        "carry_on timezone vaccines translate flight_status international_visa lost_luggage plug_type "
        "exchange_rate",
        "utility": "time alarm share_location find_phone weather text spelling make_call timer date "
        "calculator measurement_conversion flip_coin roll_dice definition",
        "work": "direct_deposit pto_request taxes payday w2 pto_balance pto_request_status next_holiday "
        "insurance insurance_change schedule_meeting pto_used meeting_schedule rollover_401k income",
        "small_talk": "greeting goodbye tell_joke where_are_you_from how_old_are_you what_is_your_name "
        "who_made_you thank_you what_can_i_ask_you what_are_your_hobbies do_you_have_pets are_you_a_bot "
        "meaning_of_life who_do_you_work_for fun_fact",
        "meta": "change_ai_name change_user_name cancel user_name reset_settings whisper_mode repeat no yes "
        "maybe change_language change_accent change_volume change_speed sync_device",
    }.items()
}
FOLDS = [list(DOMAINS)[place : place + 2] for place in range(0, 10, 2)]


@dataclass(frozen=True)
class Rows:
    """A split that is held in memory; no method here reads its tokens."""

    rows: Sequence[Example]

    def __len__(self) -> int:
        return len(self.rows)

    def example(self, index: int) -> Example:
        return self.rows[index]

    def examples(self) -> list[Example]:
        return list(self.rows)


@dataclass(frozen=True)
class Episode:
    """A held-out domain: sequences and labels [n] of the drawn rows, and of the test rows."""

    support: Sequence[Sequence[int]]
    places: Tensor
    test: Sequence[Sequence[int]]
    expected: Tensor


class Remembered:
    """An engine that reads each sequence once: what it remembers is its pooled last states."""

    def __init__(self, base: Base, sequences: Sequence[Sequence[int]]) -> None:
        self.engine: Engine = base.engine
        self.features = dict(zip(map(tuple, sequences), frozen_features(base, sequences), strict=True))

    def last_states(self, sequences: Sequence[Sequence[int]]) -> Iterator[list[tuple[int, Tensor]]]:
        yield [(index, self.features[tuple(each)][None]) for index, each in enumerate(sequences)]


def examples(split: str) -> list[Example]:
    """Each with its domain."""
    domain = {intent: name for name, intents in DOMAINS.items() for intent in intents}
    rows = read_rows(rows_folder("clinc150") / f"{split}.jsonl")
    return [
        Example(f"{split}-{n}", row["text"], row["intent"], task=domain[row["intent"]])
        for n, row in enumerate(rows)
    ]


def first_rows(rows: Sequence[Example], count: int) -> list[Example]:
    """At most so many of each intent, in order."""
    seen: Counter[str] = Counter()
    kept = []
    for row in rows:
        seen[row.expected] += 1
        if seen[row.expected] <= count:
            kept.append(row)
    return kept


def draw(base: Base, domain: str, train: Sequence[Example], test: Sequence[Example], seed: int) -> Episode:
    generator = torch.Generator().manual_seed(seed)
    drawn: list[Example] = []
    for intent in DOMAINS[domain]:
        rows = [row for row in train if row.expected == intent]
        drawn += [rows[place] for place in torch.randperm(len(rows), generator=generator)[:SHOTS]]
    asked = [row for row in test if row.task == domain]
    places = {intent: place for place, intent in enumerate(DOMAINS[domain])}
    return Episode(
        base.read(drawn, ""),
        torch.tensor([places[row.expected] for row in drawn]),
        base.read(asked, ""),
        torch.tensor([places[row.expected] for row in asked]),
    )


# --- what answers an episode ---


def accuracy(features: Features, weights: Weights, episode: Episode) -> float:
    logits = head_logits(weights, features.of(weights, features.read(episode.test)))
    return float((logits.argmax(1).cpu() == episode.expected).float().mean())


def from_initialisation(features: Features, initial: Weights, inner: Inner, episode: Episode) -> float:
    batch = features.read(episode.support), episode.places
    return accuracy(features, solve(features, initial, batch, inner), episode)


def fine_tuned(features: Features, start: Weights, inner: Inner, episode: Episode) -> float:
    """The same network and a new head, both from where they stand before anything is learned."""
    size, labels = features.of(start, features.read(episode.support[:1])).shape[1], len(DOMAINS["banking"])
    head = {"head.weight": torch.zeros(labels, size), "head.bias": torch.zeros(labels)}

    def slope(weights: Weights, batch: tuple[Tensor, Tensor]) -> Weights:
        return slopes_and_loss(features, weights, batch)[0]

    batch = features.read(episode.support), episode.places
    return accuracy(features, descend(slope, {**start, **head}, batch, inner), episode)


def probed(base: Base, strength: float, episode: Episode) -> float:
    """A linear head on the frozen features, trained to its optimum."""
    support, test = (frozen_features(base, rows) for rows in (episode.support, episode.test))
    unit = [torch.nn.functional.normalize(each, dim=-1).numpy() for each in (support, test)]
    head = fit_head(unit[0], episode.places.numpy(), len(DOMAINS["banking"]), strength)
    said = head.log_probabilities(unit[1]).argmax(1)
    return float((said == episode.expected.numpy()).mean())


def standardising(base: Base, rows: Sequence[Sequence[int]]) -> Weights:
    """What plain features become: of mean 0 and variance 1 over all rows, which needs no labels."""
    features = frozen_features(base, rows)
    return {"mean": features.mean(0), "whitening": torch.diag(1 / (features.std(0) + 1e-6))}


# --- the comparison ---


Arm = Callable[[Episode], float]


def learn(base: Base, method: Maml, train: Sequence[Example], folder: Path) -> tuple[Features, Weights]:
    """The initialisation from these rows, all of whose domains are learned from."""
    labels = tuple(sorted({row.expected for row in train}))
    fitted = method.fit(base, Data(Classify(), "", labels, Rows(train), Rows([])), FitContext(folder))
    return fitted.features, fitted.initial


def arms(base: Base, method: Maml, train: Sequence[Example], folder: Path) -> dict[str, Arm]:
    features, initial = learn(base, method, train, folder)
    plain = NetworkFeatures(base, method.settings.width)
    plain.fixed = standardising(base, base.read(train, ""))
    start = plain.begin(0)
    found: dict[str, Arm] = {
        "maml": partial(from_initialisation, features, initial, method.inner),
        "the same steps from the base": partial(
            from_initialisation, features, features.begin(0), method.inner
        ),
    }
    for steps, rate in product((5, 20, 100), (1.0, 5.0, 20.0)):
        name = f"{FINE_TUNED}: {steps} steps at {rate:g}"
        found[name] = partial(fine_tuned, plain, start, Inner(steps, rate))
    for strength in (0.1, 1.0, 10.0, 100.0):
        found[f"linear head: C = {strength:g}"] = partial(probed, base, strength)
    return found


def interval(values: Sequence[float]) -> str:
    """Mean with half the width of its 95 % interval."""
    return f"{mean(values):.4f} ± {1.96 * stdev(values) / math.sqrt(len(values)):.4f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--base", default=DEFAULT_BASE)
    parser.add_argument("--learns", choices=("network", "lora"), default="network")
    parser.add_argument("--set", action="append", default=[], help="a setting of maml: key=value, a number")
    parser.add_argument("--folds", type=int, default=len(FOLDS))
    given = parser.parse_args()
    changed = {key: float(value) for key, value in (each.split("=") for each in given.set)}
    torch.set_num_threads(1)
    train, test = first_rows(examples("train"), TRAIN_ROWS), examples("test")
    folder = Path(tempfile.mkdtemp())
    base = load_base(resolve_base(given.base, folder))
    known = replace(base, engine=Remembered(base, base.read([*train, *test], "")))
    method = Maml(Maml.Settings(learns=given.learns, **changed))
    scores: dict[str, list[float]] = {}
    for held in FOLDS[: given.folds]:
        learned = [row for row in train if row.task not in held]
        of_base = base if given.learns == "lora" else known
        answering = arms(of_base, method, learned, folder)
        for domain, seed in product(held, range(DRAWS)):
            episode = draw(base, domain, train, test, seed)
            for name, arm in answering.items():
                scores.setdefault(name, []).append(arm(episode))
        print(f"{held}: maml {mean(scores['maml'][-8:]):.4f}", flush=True)
    return conclude(scores)


def conclude(scores: dict[str, list[float]]) -> int:
    heading("MAML on held-out domains of clinc150", {"torch": torch.__version__})
    ours = scores["maml"]
    rows = [
        [name, interval(values), interval([a - b for a, b in zip(ours, values, strict=True)])]
        for name, values in scores.items()
    ]
    show([f"{len(ours)} episodes", "test accuracy", "maml is ahead by"], rows)
    best = max(mean(values) for name, values in scores.items() if name.startswith(FINE_TUNED))
    return 0 if mean(ours) > best else 1


if __name__ == "__main__":
    sys.exit(main())
