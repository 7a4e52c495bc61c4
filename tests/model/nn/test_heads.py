import torch

from model.nn.heads import Classifier


def test_verb_and_noun_are_dropped_out_apart_in_training_alone():
    classifier = Classifier(400, {"verb": 1, "noun": 1}, dropout=0.5)
    for layer in classifier.outputs.values():
        layer.load_state_dict({"weight": torch.ones(1, 400), "bias": torch.zeros(1)})
    features = torch.randn(500, 400, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    verb, noun = (v.squeeze(1) - features.sum(1) for v in classifier(features).values())
    together = torch.corrcoef(torch.stack([verb, noun]))[0, 1]
    assert verb.std() > 1
    assert abs(together) < 0.15  # one mask for both would make it 1
    verb, noun = classifier.eval()(features).values()
    assert torch.equal(verb, noun)
