import torch

from model.nn.few_labels.examples import SHARPNESS, example_logits, unit_views


def test_similarity_is_the_mean_cosine_over_the_perspectives():
    a, b = torch.randn(4, 6), torch.randn(5, 6)
    found = unit_views(a, 2) @ unit_views(b, 2).T
    for i in range(4):
        for j in range(5):
            each = [
                torch.cosine_similarity(a[i, s], b[j, s], dim=0) for s in (slice(3), slice(3, 6))
            ]
            torch.testing.assert_close(found[i, j], sum(each) / 2)


def test_a_class_answers_by_the_mean_affinity_of_its_examples():
    cosine = torch.tensor([[1.0, 0.5, 0.2]])
    member = torch.tensor([[[1.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0]]])
    logits = example_logits(cosine, member)[0, 0]
    expected = torch.exp(SHARPNESS * (cosine[0] - 1))
    torch.testing.assert_close(logits[0].exp(), expected[:2].mean())
    torch.testing.assert_close(logits[1].exp(), expected[2])
    assert logits[2] < logits[:2].min()
