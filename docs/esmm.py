"""ESMM (Ma et al., SIGIR 2018) on an export: python esmm.py FOLDER [EPOCHS]. docs/esmm.md explains it."""

import sys

import numpy as np
import pyarrow.compute as pc
import torch
from loader import batches, fields_of, num_indexes
from torch import nn

WIDTH, VALIDATION_FOLDS = 8, 20


class Tower(nn.Sequential):
    def __init__(self, num_fields):
        super().__init__(nn.Linear(num_fields * WIDTH, 64), nn.ReLU(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 1))


class Esmm(nn.Module):
    """Both towers over one embedding of each field: click, and conversion of what was clicked."""

    def __init__(self, folder):
        super().__init__()
        sizes, names = num_indexes(folder), {*fields_of(folder, "sample"), *fields_of(folder, "common_feature_group")}
        self.places = {name: place for place, name in enumerate(sorted(names))}
        self.embeddings = nn.ModuleList(nn.EmbeddingBag(sizes[name], WIDTH, mode="sum") for name in self.places)
        for embedding in self.embeddings:
            nn.init.normal_(embedding.weight, std=0.05)
        num_fields = len(fields_of(folder, "sample")) + len(fields_of(folder, "common_feature_group"))
        self.click, self.conversion = Tower(num_fields), Tower(num_fields)

    def pooled(self, bags):
        return torch.cat([self._pool(name, *map(torch.tensor, bag)) for name, bag in bags.items()], dim=1)

    def _pool(self, name, indexes, weights, starts):
        # Histories have hundreds of features: by the root of their number their sum is of one size.
        ends = torch.cat([starts[1:], torch.tensor([len(indexes)])])
        lengths = (ends - starts).clamp(min=1).sqrt().unsqueeze(1)
        return self.embeddings[self.places[name]](indexes.long(), starts.long(), per_sample_weights=weights) / lengths

    def forward(self, own, common, group_of):
        features = torch.cat([self.pooled(own), self.pooled(common)[torch.tensor(group_of)]], dim=1)
        return self.click(features).squeeze(1).sigmoid(), self.conversion(features).squeeze(1).sigmoid()


def auc(labels, scores):
    """The share of pairs of a positive and a negative that stand in the right order; ties count half."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    positives = int(labels.sum())
    pairs = positives * (len(labels) - positives)
    return (ranks[labels == 1].sum() - positives * (positives + 1) / 2) / pairs if pairs else float("nan")


def train(folder, epochs=2):
    """Train on the groups of folds 20 to 99, and give the AUC of click and of conversion among clicks on the others."""
    torch.manual_seed(1)
    model = Esmm(folder)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    loss = nn.BCELoss()
    for epoch in range(epochs):
        for labels, own, common, group_of in batches(
            folder, 2048, lambda t: pc.greater_equal(t["group_fold"], VALIDATION_FOLDS)
        ):
            click, conversion = model(own, common, group_of)
            clicked = torch.tensor(labels["click"], dtype=torch.float32)
            # A conversion without a click is an error of the log (230 in train): it is no conversion here.
            both = clicked * torch.tensor(labels["conversion"], dtype=torch.float32)
            optimizer.zero_grad()
            (loss(click, clicked) + loss(click * conversion, both)).backward()
            optimizer.step()
        print(f"epoch {epoch + 1}: AUC click {{:.3f}}, conversion {{:.3f}}".format(*(found := evaluate(model, folder))))
    return found


@torch.no_grad()
def evaluate(model, folder):
    """AUC on the groups that were held back: of clicks, and of conversions among the clicked."""
    seen = [
        (labels["click"], labels["conversion"], *(score.numpy() for score in model(own, common, group_of)))
        for labels, own, common, group_of in batches(folder, 4096, lambda t: pc.less(t["group_fold"], VALIDATION_FOLDS))
    ]
    clicks, conversions, by_click, by_conversion = map(np.concatenate, zip(*seen, strict=True))
    return auc(clicks, by_click), auc(conversions[clicks == 1], by_conversion[clicks == 1])


if __name__ == "__main__":
    train(sys.argv[1], *map(int, sys.argv[2:]))
