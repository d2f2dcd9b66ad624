package toy

// Mistake is one that somebody has made.
type Mistake int

// The mistakes.
const (
	None                Mistake = iota
	PromisesKept                // promises of one round count in the next; the second round sends Accept after one (github.com/kr/paxos)
	AnyRoundsPromise            // a promise is counted whatever round it is for
	AnswersCountedTwice         // a repeated answer counts again
	HalfIsEnough                // n/2 is taken for a majority
	AnyAnswerPromises           // a refusal counts as a promise
	OwnValueAlways              // the votes that promises report are not looked at
	LowestVote                  // of them the lowest round's is proposed
	CommonestVote               // the value that most report
	FirstVote                   // the one reported first
	VoteNotReported             // promises do not report the vote
	VotesBelowPromise           // Accept is not held against the promise
	PromiseGoesDown             // Prepare is not
	AcceptKeepsPromise          // a vote does not raise the promise
	EqualRefused                // < for <=: the round that was promised is refused
	TieWithoutNode              // rounds of equal counters of two nodes are taken for the same
	PromiseForgotten            // the promise is not written
	VoteForgotten               // the vote is not written
	BallotReused                // the counter is not written: a restart begins again
	ToldBeforeSync              // Promise and Accepted leave before the disk has them
	PrepareBeforeSync           // Prepare does, so that the round may be used again
	RoundReadLate               // Accepted names the round of the moment when the write ends (Summerset)
	VotesOfAllRounds            // votes are counted together, whatever round they are for
	OneVoteChooses              // a learner takes a vote for a choice
	ValueChangedInRound         // what is sent again has the client's newest value
	mistakes
)

var names = [mistakes]string{
	"none", "promises kept across rounds", "promise of any round counted", "answers counted twice", "half taken for a majority", "refusal taken for a promise",
	"own value always", "lowest vote", "commonest vote", "first vote", "vote not reported", "votes below the promise", "promise goes down",
	"accept keeps the promise", "equal round refused", "tie without node", "promise not written", "vote not written", "round used again",
	"told before sync", "prepare before sync", "round read when the write ends", "votes of all rounds counted together", "one vote chooses",
	"value changed within a round",
}

func (m Mistake) String() string { return names[m] }

// Mistakes are all of them.
func Mistakes() (all []Mistake) {
	for m := None + 1; m < mistakes; m++ {
		all = append(all, m)
	}
	return all
}
