"""Trained trees as plain arrays: stored, read and evaluated without the library that grew them."""

from typing import Any

import msgspec
import numpy as np

from taihu.kernel.arrays import Numbers


class Forest(msgspec.Struct, frozen=True):
    """Trees side by side. Node n of tree t goes to `left` when `feature` is at most `threshold`, else to `right`.

    A negative child -1 - k is leaf k. All are bytes of arrays, trees by nodes; `depth` is the longest way to a leaf.
    """

    trees: int
    depth: int
    feature: bytes
    threshold: bytes
    left: bytes
    right: bytes
    leaves: bytes

    def values(self, rows: Numbers, groups: int) -> Numbers:
        """The sums of `groups` equal groups of the trees for each row: groups by rows."""
        shape = (self.trees, -1)
        feature = np.frombuffer(self.feature, np.int16).reshape(shape)
        threshold = np.frombuffer(self.threshold).reshape(shape)
        left, right = (np.frombuffer(side, np.int16).reshape(shape) for side in (self.left, self.right))
        leaves = np.frombuffer(self.leaves).reshape(shape)
        tree = np.broadcast_to(np.arange(self.trees)[:, None], (self.trees, len(rows)))
        row = np.broadcast_to(np.arange(len(rows)), tree.shape)
        node = np.zeros(tree.shape, np.int64)
        for _ in range(self.depth):
            at = np.maximum(node, 0)
            less = rows[row, feature[tree, at]] <= threshold[tree, at]
            node = np.where(node < 0, node, np.where(less, left[tree, at], right[tree, at]))
        found = leaves[tree, -1 - node]
        return np.asarray(found.reshape(groups, -1, len(rows)).sum(axis=1))


def forest_of(models: list[dict[str, Any]]) -> Forest:
    """The trees of LightGBM's `dump_model` of each model, one after the other."""
    structures = [tree["tree_structure"] for model in models for tree in model["tree_info"]]
    listed = [_listed(structure) for structure in structures]
    nodes = max(max(len(one[0]) for one in listed), 1)
    leaves = max(len(one[1]) for one in listed)
    table = np.zeros((4, len(listed), nodes))
    table[2:] = -1  # a tree that is one leaf goes to it at once
    values = np.zeros((len(listed), leaves))
    for place, (splits, ends) in enumerate(listed):
        if splits:
            table[:, place, : len(splits)] = np.array(splits, np.float64).T
        values[place, : len(ends)] = ends
    feature, threshold, left, right = table

    def small(part: Numbers) -> bytes:
        return part.astype(np.int16).tobytes()

    depth = max(max(_depth(structure) for structure in structures), 1)
    return Forest(len(listed), depth, small(feature), threshold.tobytes(), small(left), small(right), values.tobytes())


def _listed(structure: dict[str, Any]) -> tuple[list[list[float]], list[float]]:
    """A tree's splits (feature, threshold, left, right) and its leaves."""
    splits: list[list[float]] = []
    leaves: list[float] = []

    def add(node: dict[str, Any]) -> int:
        if "leaf_value" in node:
            leaves.append(float(node["leaf_value"]))
            return -len(leaves)
        place = len(splits)
        splits.append([float(node["split_feature"]), float(node["threshold"]), 0.0, 0.0])
        splits[place][2] = add(node["left_child"])
        splits[place][3] = add(node["right_child"])
        return place

    add(structure)
    return splits, leaves


def _depth(node: dict[str, Any]) -> int:
    return 0 if "leaf_value" in node else 1 + max(_depth(node["left_child"]), _depth(node["right_child"]))
