"""Which pictures to label next, and what labelling them costs.

`strategies` choose pictures by what a network says about them; a simulated person corrects what it
proposes (`annotators`); `rounds` is the circle: count, choose, correct, train, count again.
`strategies` needs no torch.
"""
